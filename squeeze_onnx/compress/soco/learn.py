"""The run: scales and deviation learn on unlabelled text, stage by stage, and become the spectra that a budget cuts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.allocators import Candidate, GlobalBudget
from squeeze_onnx.compress.methods import WeightingOf
from squeeze_onnx.compress.soco.prices import by_output_error
from squeeze_onnx.compress.soco.scaled_graph import ScaledSite, scale_sites
from squeeze_onnx.compress.soco.scales import Scales
from squeeze_onnx.compress.soco.stages import (
    STAGES,
    Alternation,
    Compression,
    Sight,
    SocoStage,
    Sparsification,
    StageName,
    StageRecord,
)
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.learning.batch_learner import BatchLearner, batch_of, open_learner
from squeeze_onnx.learning.losses import LOSS, attach_losses
from squeeze_onnx.learning.optimizer import AdamW
from squeeze_onnx.learning.parts import in_parts, tokens_measured
from squeeze_onnx.learning.teacher import teach
from squeeze_onnx.learning.teaching import Teaching
from squeeze_onnx.spectral.decompositions import Exact, Factors
from squeeze_onnx.spectral.weightings import LearnedSpectrum, Weighting
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track

SOCO_HIDDEN_WEIGHT = 1.0
"""What hidden states count beside the answer; the prices are in the units of that sum."""


@dataclass(frozen=True)
class SocoConfig:
    """How S and the deviation learn.

    ``stages`` are those to go through, in order; ``deviation`` lets the right vectors learn too. ``scale_rate`` and
    ``deviation_rate`` are the learning rates, ``price`` the first price of all parameters, which ``growth`` multiplies every
    step. A look at ``window`` batches, or at all if there are fewer, is what the last stage judges by. ``most_steps`` ends the
    run whatever the stages see; the budget is met then too.
    """

    stages: tuple[StageName, ...] = STAGES
    deviation: bool = True
    scale_rate: float = 0.012
    deviation_rate: float = 2e-4
    price: float = 0.02
    growth: float = 1.03
    window: int = 16
    most_steps: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class SpectrumLearning:
    """The learned spectra by site name, the ``candidates`` that a budget spends on (in the order given), and the stages."""

    spectra: Mapping[str, LearnedSpectrum]
    candidates: tuple[Candidate, ...]
    stages: tuple[StageRecord, ...]


def learn_spectra(
    model: ir.Model,
    measured: Sequence[SiteSpectra],
    weighting_of: WeightingOf,
    teaching: Teaching,
    *,
    keep: float,
    config: SocoConfig | None = None,
) -> SpectrumLearning:
    """Learn which components of the sites of ``model``, which stays as it is, a budget of ``keep`` should spend itself on.

    ``measured`` are the sites with their candidates, floors included; ``weighting_of``, which may add no rank,
    decomposes them. ``teaching`` is what they learn on; no state is saved on the way.

    Raises OptionError if there is too little text, ModelError if the graph cannot be differentiated, a weight is no float32, or
    a gradient is not finite.
    """
    config = config or SocoConfig()
    losses, batches, provider, track = teaching.losses, teaching.batches, teaching.provider, teaching.track
    if not batches:
        raise OptionError("`method` soco learns from text; give `calibration` a text file, glue:TASK or an .npz")
    for each in measured:
        if each.site.weight.dtype != ir.DataType.FLOAT:
            raise ModelError(
                f"`method` soco learns float32 weights, but that of node {each.site.name} is {each.site.weight.dtype.name}: "
                "export the model in float32"
            )
    components = {
        each.site.name: _components(each.site, weighting_of(each.site)) for each in track(measured, "Components")
    }
    student = model.clone()
    own = {site.name: site for site in find_sites(student).sites}
    scaled = scale_sites(student, [own[name] for name in components], components)
    graph = attach_losses(student, losses)
    learned = [site.scale for site in scaled.values()]
    learned += [site.right for site in scaled.values()] if config.deviation else []
    text = in_parts(batches, model, tokens_measured(model, losses[-1].value, batches, provider))
    with TemporaryDirectory() as folder:
        taught = teach(model, graph, text.parts, Path(folder), provider=provider, track=track)
        learner = open_learner(graph, learned, taught, text, teaching.options)
        scales = Scales(
            learner.parameters[: sum(each.rank for each in components.values())],
            [each.candidate for each in measured],
        )
        run = _Run(learner, scales, scaled, keep=keep, config=config)
        run.learn(track)
    rights = run.rights()
    spectra = {name: _spectrum(scales, name, components[name], rights.get(site.right)) for name, site in scaled.items()}
    return SpectrumLearning(spectra, scales.candidates, tuple(run.records))


def _spectrum(scales: Scales, site: str, components: Factors, right: np.ndarray | None) -> LearnedSpectrum:
    """Return the components of ``site``, scaled, with the ``right`` vectors that learned; what does not stay is as it was."""
    within, output_errors = scales.within[site], scales.output_errors[site]
    unlearned, order = scales.pruned[within] | (site in scales.dense), by_output_error(output_errors)
    left = components.left * np.where(unlearned, 1, scales.values[within])
    learned = components.right if right is None else np.where(unlearned[:, None], components.right, right)
    return LearnedSpectrum(left[:, order].astype(np.float32), learned[order].astype(np.float32), output_errors[order])


def _components(site: MatMulSite, weighting: Weighting) -> Factors:
    """Return all min(in, out) components of the weight of ``site``."""
    weighted = weighting.apply(read_weight(site))
    # All components: a sketch as wide as the matrix would be the exact answer too.
    decomposition = Exact().decompose(weighted.matrix, min(weighted.matrix.shape))
    return weighted.factors(decomposition, decomposition.singular_values.size)


def _optimizer(parameters: np.ndarray) -> AdamW:
    """Return an optimizer with a shorter memory than usual: the pressure changes from step to step."""
    return AdamW(np.zeros_like(parameters), np.zeros_like(parameters), ((parameters.size, 1.0),), betas=(0.9, 0.99))


class _Run:
    """Learning as it goes on: everything that changes from step to step."""

    def __init__(
        self,
        learner: BatchLearner,
        scales: Scales,
        scaled: Mapping[str, ScaledSite],
        *,
        keep: float,
        config: SocoConfig,
    ) -> None:
        self._learner, self._scales, self._scaled, self._config = learner, scales, scaled, config
        self._allocator = GlobalBudget(keep)
        self._window = min(config.window, len(learner))
        self._start = learner.parameters.copy()
        self._parts = (slice(None, scales.values.size), slice(scales.values.size, None))
        self._optimizers = [_optimizer(learner.parameters[part]) for part in self._parts]
        self._losses: list[float] = []
        self._stage = ""
        self.records: list[StageRecord] = []

    def learn(self, track: Track) -> None:
        """Go through the stages, and decide what stays."""
        steps = iter(track(range(self._config.most_steps if self._config.stages else 0), "SoCo", self._status))
        price = self._config.price
        for name in self._config.stages:
            began = len(self._losses)
            stage = self._enter(name, price)
            for _ in steps:
                self._take(stage)
                if stage.is_over:
                    break
            if not self._scales.decided:
                self._scales.weigh()
            self._record(stage, began)
            price = max(price, stage.price)
            if len(self._losses) == self._config.most_steps:
                break
        if not self._scales.decided:
            self._scales.decide(self._allocator)

    def rights(self) -> dict[str, np.ndarray]:
        """Return what the deviation made of right vectors, by the name of the initializer."""
        return self._learner.named(self._learner.parameters)

    def _status(self) -> str:
        return f"{self._stage}: loss {self._losses[-1]:.4f}, open {self._scales.size:.3f}"

    def _enter(self, name: StageName, price: float) -> SocoStage:
        self._stage, growth = name, self._config.growth
        if name == "compression":
            return Compression(self._allocator.keep, price, growth)
        if name == "alternation":
            return Alternation(self._allocator.keep, price, growth)
        self._scales.decide(self._allocator)
        return Sparsification(price, growth, self._window)

    def _record(self, stage: SocoStage, began: int) -> None:
        losses = self._losses[began:]
        loss = float(np.mean(losses[-self._window :]))
        self.records.append(
            StageRecord(stage.name, len(losses), stage.price, self._scales.size, loss, met=stage.is_over)
        )

    def _take(self, stage: SocoStage) -> None:
        learner = self._learner
        step = len(self._losses)
        loss = learner.run(batch_of(step, len(learner), self._config.seed))[LOSS]
        if not np.isfinite(np.linalg.norm(learner.gradient)):
            raise ModelError(
                f"`method` soco: the gradient of step {step} is not finite: check the weights of the model"
            )
        self._scales.press(learner.gradient[self._parts[0]], stage.price)
        rates = (self._config.scale_rate, self._config.deviation_rate)
        for optimizer, part, rate in zip(self._optimizers, self._parts, rates, strict=True):
            optimizer.update(learner.parameters[part], learner.gradient[part], rate * stage.pace)
        self._scales.settle(stage.price)
        parameters, start = (learner.named(vector) for vector in (learner.parameters, self._start))
        for site in self._scales.dense:
            if self._scaled[site].right in parameters:
                parameters[self._scaled[site].right][:] = start[self._scaled[site].right]
        self._losses.append(loss)
        stage.see(Sight(self._scales.size, self._scales.pending, loss))
