"""The survey: everything that is learned of a model before a budget is set. One survey serves any number of budgets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from squeeze_onnx.compress.allocators import Objective, RemovableSublayer, Sharing, Uniform
from squeeze_onnx.compress.automatic import check_distillation, resolve_method
from squeeze_onnx.compress.config import DEFAULT_KEEP
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.enough_text import refuse_too_little
from squeeze_onnx.compress.forms import Sliced
from squeeze_onnx.compress.limits import with_limits
from squeeze_onnx.compress.looker import looker_of
from squeeze_onnx.compress.methods import METHODS, WeightingOf
from squeeze_onnx.compress.objectives import objective_of
from squeeze_onnx.compress.precision import rounds_weights
from squeeze_onnx.compress.removal_path import path_of
from squeeze_onnx.compress.sensitivity import (
    PROBE_KEEP,
    Prober,
    probe_sensitivity,
    run_to_starts,
    values_of_starts,
)
from squeeze_onnx.compress.sharing import measure_sharings
from squeeze_onnx.compress.slicing import (
    KINDS,
    Measurement,
    SiteStatistics,
    blocks_among,
    measure_blocks,
    without_uneven,
)
from squeeze_onnx.compress.soco.learn import SOCO_HIDDEN_WEIGHT, SocoConfig, SpectrumLearning, learn_spectra
from squeeze_onnx.compress.soco.stages import StageRecord
from squeeze_onnx.compress.spectra import SiteSpectra, SiteView, measure_spectra, measure_view, noise_distances
from squeeze_onnx.data.calibration import collect_moments, hear_moments
from squeeze_onnx.graph.match.sites import MatMulSite, SkippedSite
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.fisher import collect_fisher
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.spectral.fisher_moments import Fisher
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings import LearnedSpectrum, Weighting
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.freed_memory import give_back_freed_memory
from squeeze_onnx.support.stopwatch import Stopwatch


@dataclass(frozen=True)
class Survey:
    """What a method sees of a model.

    ``spectra`` are those of the sites to squeeze, in graph order, ``skipped`` the others. ``moments`` and ``blocks`` know sites
    by name, so that they fit any copy of the model, and are empty for a method without data: what each site meets, and the
    blocks that may lose columns, by their names. So do ``sharings``, the sites that may share a left factor; like sensitivities
    only a new plan needs them. ``fisher`` is empty for a method without gradients; ``learned`` are the components of each site
    if the method learns, in ``stages``. ``objective`` is what budgets are of. ``timing`` is in seconds per stage. ``whole_heads``
    says why the heads that a cache holds stay as wide as they are, where they have to. ``removable`` is in which order sublayers
    can go.
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
    whole_heads: str | None = None
    removable: tuple[RemovableSublayer, ...] = ()

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


def take_survey(context: Context) -> Survey:
    """Measure what the method of ``context`` wants to know of its dense model.

    With a plan its method and sites count; what only a new plan needs is neither probed nor learned.
    Raises ModelError if no site is eligible, OptionError if the plan does not fit the model or the method lacks data.
    """
    clock, plan, track = Stopwatch(), context.plan, context.track
    with clock.stage("sites"):
        sites = context.sites
        name = plan.method if plan else resolve_method(context)
        check_distillation(context)
        method = METHODS[name]
        if context.batches:
            _ = context.known_head  # as long as the model is open
        probes, learns = plan is None and method.probes, plan is None and method.learns
    with clock.stage("calibration"):
        moments = _moments(name, context)
        refuse_too_little(sites, moments)
        started = run_to_starts(*_starting(context), context.weighed) if probes else []
        if context.looked_at:
            looker_of(context).run_dense()
        context.close_sessions()  # gradients take memory too
    with clock.stage("fisher"):
        fisher = _fisher(name, context)
        give_back_freed_memory()
    weighting_of = method.weighting_of(moments, fisher)
    with clock.stage("blocks"):
        kinds = _kinds_to_slice(name, context)
        rounded = rounds_weights(context.config.precision)
        found, whole = blocks_among(_sites_to_slice(context), kinds, rounded=rounded), None
        if plan is None and "heads" in kinds:
            found, whole = without_uneven(found, context.dense, context.weighed)
        blocks = measure_blocks(found, SiteStatistics.of(moments, fisher), track)
    sharings: tuple[Sharing, ...] = ()
    if probes:
        prober = Prober(context.dense.ir, context.starts, started, context.config.provider, context.known_head)
        with clock.stage("sensitivity"):
            spectra, blocks = _probe(prober, blocks, weighting_of, context)
        if method.fisher is None:  # one left factor is found in one metric of all outputs: that of the inputs
            with clock.stage("sharing"):
                sharings = measure_sharings(spectra, weighting_of)
    else:
        with clock.stage("spectra"):
            spectra = measure_spectra(sites, weighting_of, context.config, track)
    learning = SpectrumLearning({}, (), ())
    if learns:
        with clock.stage("learning"):
            learning = _learn(spectra, weighting_of, context)
        pairs = zip(spectra, learning.candidates, strict=True)
        spectra = tuple(replace(measured, candidate=candidate) for measured, candidate in pairs)
    with clock.stage("objective"):
        objective = objective_of(context)
        removable = path_of(context, name, spectra, moments, objective)
    return Survey(
        name,
        spectra,
        context.skipped,
        moments,
        blocks,
        sharings,
        objective,
        clock.seconds,
        fisher,
        learning.spectra,
        learning.stages,
        whole,
        removable,
    )


def _starting(context: Context) -> tuple[Session, tuple[str, ...]]:
    """Return the session that shows from where probes start, and the names of these values."""
    return context.values_run.session, values_of_starts(context.dense.ir, context.starts)


def _probe(
    prober: Prober, blocks: Mapping[str, Measurement], weighting_of: WeightingOf, context: Context
) -> tuple[tuple[SiteSpectra, ...], dict[str, Measurement]]:
    """Return the spectra of the sites and ``blocks`` with their sensitivities, measured layer by layer.

    A weight is seen through its weighting once, for its spectrum and for the probe.
    """
    sites, config, track = context.sites, context.config, context.track
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


def _learn(spectra: Sequence[SiteSpectra], weighting_of: WeightingOf, context: Context) -> SpectrumLearning:
    model, config = context.dense.ir, context.config
    losses = distillation_losses(model, context.head, hidden_weight=SOCO_HIDDEN_WEIGHT)
    return learn_spectra(
        model,
        with_limits(spectra, config),
        weighting_of,
        Teaching(losses, context.fitted, config.provider, track=context.track),
        keep=config.keep or DEFAULT_KEEP,
        config=SocoConfig(seed=config.seed),
    )


def _kinds_to_slice(method: str, context: Context) -> Collection[str]:
    """Return what may lose columns: what a plan says, or what can be weighed against ranks, which takes sensitivities."""
    if context.plan is not None:
        return KINDS if METHODS[method].needs_calibration else ()
    return context.config.sliced if METHODS[method].probes else ()


def _sites_to_slice(context: Context) -> Sequence[MatMulSite]:
    """Return the sites whose columns may go: all, or those the plan takes some from."""
    if context.plan is None:
        return context.sites
    pairs = zip(context.sites, context.plan.sites, strict=True)
    return [site for site, planned in pairs if isinstance(planned.form, Sliced)]


def _moments(method: str, context: Context) -> dict[str, Moments]:
    """Return what the sites meet on the calibration data, by name; nothing for a method that does not look at activations."""
    if not METHODS[method].needs_calibration:
        return {}
    if not context.batches:
        raise OptionError(
            f"`method` {method} looks at activations; give `calibration` a text file, glue:TASK (with `data`) or an .npz"
        )
    run, sites, batches, track = context.values_run, context.sites, context.weighed, context.track
    if track.hands() == 1:
        return hear_moments(run.session, sites, batches, track)
    return collect_moments(
        context.dense.ir, sites, batches, provider=context.config.provider, track=track, shown=run.shown
    )


def _fisher(method: str, context: Context) -> dict[str, Fisher]:
    """Return the Fisher information at the sites, by name; nothing for a method that does not look at gradients."""
    kind = METHODS[method].fisher
    if kind is None:
        return {}
    return collect_fisher(context.fisher_graph, kind, provider=context.config.provider, track=context.track)
