"""The survey: everything that is learned of a model before a budget is set. One survey serves any number of budgets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from squeeze_onnx.compress.allocators import Objective, Sharing, Uniform
from squeeze_onnx.compress.automatic import resolve_method
from squeeze_onnx.compress.config import DEFAULT_KEEP, OptimizeConfig
from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.enough_text import refuse_too_little
from squeeze_onnx.compress.floors import with_floors
from squeeze_onnx.compress.methods import METHODS, WeightingOf
from squeeze_onnx.compress.objectives import objective_of
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planning import planned_sites_of
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.compress.sensitivity import PROBE_KEEP, Prober, open_prober, probe_sensitivity
from squeeze_onnx.compress.sharing import measure_sharings
from squeeze_onnx.compress.slicing import KINDS, Measurement, Seen, measure_blocks
from squeeze_onnx.compress.soco.learn import HIDDEN_WEIGHT, SocoConfig, SpectrumLearning, learn_spectra
from squeeze_onnx.compress.soco.stages import StageRecord
from squeeze_onnx.compress.spectra import SiteSpectra, SiteView, measure_spectra, measure_view, noise_distances
from squeeze_onnx.compress.validation_text import text_to_learn_on
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.evaluate.model_head import head_of, known_head_of
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import MatMulSite, SkippedSite, find_sites
from squeeze_onnx.learning.fisher import collect_fisher
from squeeze_onnx.learning.objectives import imitation_losses
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings import LearnedSpectrum, Weighting
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.stopwatch import Stopwatch


@dataclass(frozen=True)
class Survey:
    """What a method sees of a model.

    ``spectra`` are those of the sites to squeeze, in graph order, ``skipped`` the others. ``moments`` and ``blocks`` know sites
    by name, so that they fit any copy of the model, and are empty for a method without data: what each site meets, and the
    blocks that may lose columns, by their names. So do ``sharings``, the sites that may share a left factor; like sensitivities
    only a new plan needs them. ``fisher`` is empty for a method without gradients; ``learned`` are the components of each site
    if the method learns, in ``stages``. ``objective`` is what budgets are of. ``timing`` is in seconds per stage.
    """

    method: str
    spectra: tuple[SiteSpectra, ...]
    skipped: tuple[SkippedSite, ...]
    moments: Mapping[str, Moments]
    blocks: Mapping[str, Measurement]
    sharings: tuple[Sharing, ...]
    objective: Objective
    timing: Mapping[str, float]
    fisher: Mapping[str, Fisher] = field(default_factory=dict)
    learned: Mapping[str, LearnedSpectrum] = field(default_factory=dict)
    stages: tuple[StageRecord, ...] = ()

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """The sites to squeeze."""
        return tuple(measured.site for measured in self.spectra)

    @property
    def weighting_of(self) -> WeightingOf:
        """The weighting through which the method sees each site: what was learned of it, if anything was."""
        unlearned = METHODS[self.method].weighting_of(self.moments, self.fisher)

        def weighting(site: MatMulSite) -> Weighting:
            return self.learned[site.name] if site.name in self.learned else unlearned(site)

        return weighting


def take_survey(
    model: OnnxModel,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch] = (),
    *,
    plan: Plan | None = None,
    track: Track = silent,
) -> Survey:
    """Measure what ``config.method`` wants to know of ``model``, which stays as it is.

    With a ``plan`` its method and sites count; what only a new plan needs is neither probed nor learned.
    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data.
    """
    clock = Stopwatch()
    with clock.stage("sites"):
        sites, skipped = choose_sites(model, config, plan)
        method = plan.method if plan else resolve_method(model, sites, config, calibration)
    with clock.stage("calibration"):
        moments = _moments(method, model, sites, calibration, config=config, track=track)
        refuse_too_little(sites, moments)
    with clock.stage("fisher"):
        fisher = _fisher(method, model, sites, calibration, config=config, track=track)
    weighting_of = METHODS[method].weighting_of(moments, fisher)
    with clock.stage("blocks"):
        kinds = _kinds_to_slice(method, config, plan)
        blocks = measure_blocks(_sites_to_slice(sites, plan), Seen.of(moments, fisher), kinds, track)
    sharings: tuple[Sharing, ...] = ()
    if plan is None and METHODS[method].probes:
        head = known_head_of(model, config.asked)
        with clock.stage("sensitivity"), open_prober(model.ir, sites, calibration, config.provider, head) as prober:
            spectra, blocks = _probe(prober, sites, blocks, weighting_of, config, track=track)
        if METHODS[method].fisher is None:  # one left factor is found in one metric of all outputs: that of the inputs
            with clock.stage("sharing"):
                sharings = measure_sharings(spectra, weighting_of)
    else:
        with clock.stage("spectra"):
            spectra = measure_spectra(sites, weighting_of, config, track)
    learning = SpectrumLearning({}, (), ())
    if plan is None and METHODS[method].learns:
        with clock.stage("learning"):
            learning = _learn(model, spectra, weighting_of, config, calibration, track=track)
        pairs = zip(spectra, learning.candidates, strict=True)
        spectra = tuple(replace(measured, candidate=candidate) for measured, candidate in pairs)
    with clock.stage("objective"):
        objective = objective_of(model, sites, config, calibration, track)
    return Survey(
        method,
        spectra,
        skipped,
        moments,
        blocks,
        sharings,
        objective,
        clock.seconds,
        fisher,
        learning.spectra,
        learning.stages,
    )


def _probe(
    prober: Prober,
    sites: Sequence[MatMulSite],
    blocks: Mapping[str, Measurement],
    weighting_of: WeightingOf,
    config: OptimizeConfig,
    *,
    track: Track,
) -> tuple[tuple[SiteSpectra, ...], dict[str, Measurement]]:
    """Return the spectra of ``sites`` and ``blocks`` with their sensitivities, measured layer by layer.

    A weight is seen through its weighting once, for its spectrum and for the probe.
    """
    site_of = {site.name: site for site in sites}
    distances = noise_distances(sites, config, track)
    spectra_of: dict[str, SiteSpectra] = {}
    block_of = dict(blocks)
    probe, decomposer = Uniform(PROBE_KEEP), config.decomposing.decomposer()
    for layer in track(prober.layers, "Sensitivity"):
        for name in layer:
            view = SiteView.of(site_of[name], weighting_of(site_of[name]))
            spectra = measure_view(view, distances[name], config)
            spectra_of[name] = probe_sensitivity(prober, view, spectra, probe, decomposer)
        block_of |= {name: block_of[name].probed(prober) for name in layer if name in block_of}
    return tuple(spectra_of[site.name] for site in sites), block_of


def _learn(
    model: OnnxModel,
    spectra: Sequence[SiteSpectra],
    weighting_of: WeightingOf,
    config: OptimizeConfig,
    calibration: Sequence[CalibrationBatch],
    *,
    track: Track,
) -> SpectrumLearning:
    return learn_spectra(
        model.ir,
        with_floors(spectra, config.floor),
        weighting_of,
        text_to_learn_on(calibration, config),
        losses=imitation_losses(model.ir, head_of(model, config.asked), hidden_weight=HIDDEN_WEIGHT),
        keep=config.keep or DEFAULT_KEEP,
        config=SocoConfig(seed=config.seed),
        provider=config.provider,
        track=track,
    )


def nothing_to_do(model: OnnxModel, skipped: Sequence[SkippedSite]) -> ModelError:
    """Say that ``model`` has no site to work on, and why the first one that was looked at is none."""
    why = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else " at all"
    return ModelError(f"{model.path} has no eligible MatMul, Gemm or Gather with a constant weight{why}")


def choose_sites(
    model: OnnxModel, config: OptimizeConfig, plan: Plan | None = None
) -> tuple[tuple[MatMulSite, ...], tuple[SkippedSite, ...]]:
    """Return the sites to work on and all others with the reason they are left alone; raises as `take_survey`."""
    found = find_sites(model.ir)
    if plan is not None:
        if plan.method not in METHODS:
            raise OptionError(f"the plan's method {plan.method!r} is unknown; known methods are {', '.join(METHODS)}")
        return planned_sites_of(plan, found.sites), found.skipped
    roles = PRESETS[config.preset]().roles if config.preset else frozenset()
    eligibility = choose_eligible(found.sites, config.include, config.exclude, only=roles)
    skipped = found.skipped + eligibility.left_out
    if not eligibility.sites:
        raise nothing_to_do(model, skipped)
    return eligibility.sites, skipped


def _kinds_to_slice(method: str, config: OptimizeConfig, plan: Plan | None) -> Collection[str]:
    """Return what may lose columns: what a plan says, or what can be weighed against ranks, which takes sensitivities."""
    if plan is not None:
        return KINDS if METHODS[method].needs_calibration else ()
    return config.sliced if METHODS[method].probes else ()


def _sites_to_slice(sites: Sequence[MatMulSite], plan: Plan | None) -> Sequence[MatMulSite]:
    """Return the sites whose columns may go: all, or those the plan takes some from."""
    if plan is None:
        return sites
    return [site for site, planned in zip(sites, plan.sites, strict=True) if planned.kept_shape is not None]


def _moments(
    method: str,
    model: OnnxModel,
    sites: Sequence[MatMulSite],
    calibration: Sequence[CalibrationBatch],
    *,
    config: OptimizeConfig,
    track: Track,
) -> dict[str, Moments]:
    """Return what ``sites`` meet on ``calibration``, by name; nothing for a method that does not look at activations."""
    if not METHODS[method].needs_calibration:
        return {}
    if not calibration:
        raise OptionError(
            f"--method {method} looks at activations; give --calibration a text file, glue:TASK (with --data) or an .npz"
        )
    return collect_moments(model.ir, sites, calibration, provider=config.provider, track=track)


def _fisher(
    method: str,
    model: OnnxModel,
    sites: Sequence[MatMulSite],
    calibration: Sequence[CalibrationBatch],
    *,
    config: OptimizeConfig,
    track: Track,
) -> dict[str, Fisher]:
    """Return the Fisher information at ``sites``, by name; nothing for a method that does not look at gradients."""
    kind = METHODS[method].fisher
    if kind is None:
        return {}
    return collect_fisher(
        model.ir,
        sites,
        calibration,
        head_of(model, config.asked),
        kind,
        seed=config.seed,
        provider=config.provider,
        track=track,
    )
