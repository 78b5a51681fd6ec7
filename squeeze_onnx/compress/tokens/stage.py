"""Fewer tokens behind the layers of the squeezed model: refusals before anything takes its time, the choice, the graph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms.removed import removed_sites
from squeeze_onnx.compress.plan import PlannedTokens
from squeeze_onnx.compress.tokens.choice import GRID, PROBED, damage_curve, possible_rates, share_of
from squeeze_onnx.compress.tokens.steps import Lines, TokenSteps, spread
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.made_up_inputs import made_up_batches
from squeeze_onnx.evaluate.answer_heads import ClassLogits, Head, LabelLogits, ScoreHead, SentenceEmbedding
from squeeze_onnx.evaluate.output_error import OutputErrorMeter
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.rewrite.fewer_tokens import KeptStates
from squeeze_onnx.learning.losses import HiddenStateError, KeptStateError, LossHead
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.support.errors import ModelError, OptionError

PROBE_TOKENS = 2048
"""Of calibration text, on which each step is measured."""

LINE_TOKENS = 8192
"""Of it, by which the states of tokens that are gone are brought to those of the last layer."""

REORDERED = 1e-3
"""The most of its variance that an answer may move if tokens only change places: rounding, also of half types."""


@dataclass(frozen=True)
class PrunedTokens:
    """What was done: the plan of it, the part of the multiplications that stays, and how far the answers moved for that.

    damage: in shares of the variance of the answers on calibration text (None: not measured). tried: the same of a single step by
    layer and rate. kept: what is left behind each step.
    """

    planned: PlannedTokens
    share: float
    damage: float | None = None
    tried: Mapping[int, Mapping[float, float]] = field(default_factory=dict)
    kept: tuple[KeptStates, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for report.json."""
        tried = [
            {"layer": layer, "rate": rate, "damage": damage}
            for layer, by_rate in self.tried.items()
            for rate, damage in by_rate.items()
        ]
        return {**self.planned.to_json(), "share": self.share, "damage": self.damage, "tried": tried}

    def losses(self, losses: Sequence[LossHead]) -> tuple[LossHead, ...]:
        """Return ``losses`` as they are of a student that has these tokens left."""
        return tuple(self._of_kept(loss) if isinstance(loss, HiddenStateError) else loss for loss in losses)

    def _of_kept(self, loss: HiddenStateError) -> LossHead:
        for kept in self.kept:
            if loss.value in kept.states:
                return KeptStateError(loss.value, kept.positions, kept.real, loss.weight)
        return loss


def prunes(context: Context) -> bool:
    """Whether tokens are to go, as is asked for or as the plan says."""
    asked = context.config.prune_tokens
    if asked is not None:
        return asked < 1
    return context.plan is not None and context.plan.tokens is not None


def refuse_unprunable(context: Context) -> None:
    """Raise OptionError or ModelError, naming a node, if tokens are to go and cannot."""
    if not prunes(context):
        return
    if context.config.remove_sublayers or (context.plan is not None and removed_sites(context.plan.sites)):
        raise OptionError(
            "`prune_tokens` counts layers by their attentions, which `remove_sublayers` and plans with removed weights take out: "
            "leave out one of them"
        )
    if not context.batches and _planned(context) is None:
        raise OptionError(
            "`prune_tokens` looks at what tokens do to answers; give `calibration` a text file, glue:TASK (with `data`) or "
            "an .npz"
        )
    _refuse_head(context)
    steps = _steps(context.dense, context)
    planned = _planned(context)
    unknown = [layer for layer in ({} if planned is None else planned.rates) if layer not in steps.layers]
    if unknown:
        raise OptionError(
            f'the plan\'s "tokens" name layer {unknown[0]}, behind which no token of {context.dense.path} can go'
        )
    _refuse_places(context, steps)


def prune(context: Context, model: OnnxModel) -> PrunedTokens | None:
    """Let tokens go in the squeezed ``model``, whose graph changes in place; None if none are to go."""
    if not prunes(context):
        return None
    config, steps, planned = context.config, _steps(model, context), _planned(context)
    lines = steps.lines(spread(context.batches, LINE_TOKENS), config.provider) if context.batches else {}
    meter, names = _meter(context, steps, lines) if context.batches else (None, {})
    tried: dict[int, dict[float, float]] = {}
    if planned is None:
        assert meter is not None and config.prune_tokens is not None, "checked before"
        for layer in context.track(steps.layers, "Tokens"):
            later = [name for each, name in names.items() if each >= layer]
            tried[layer] = {place / GRID: meter.output_error(_at(place / GRID, later)) for place in PROBED}
        curves = {
            layer: damage_curve({round(rate * GRID): damage for rate, damage in found.items()})
            for layer, found in tried.items()
        }
        possible = possible_rates(config.prune_tokens, curves, steps.work())
        _refuse_too_few(config.prune_tokens, share_of(possible[0], steps.work()))
        damages = [meter.output_error(_as_inputs(rates, names)) for rates in possible]
        planned = PlannedTokens(config.prune_tokens, possible[int(np.argmin(damages))])
    damage = None if meter is None else meter.output_error(_as_inputs(planned.rates, names))
    share = share_of(planned.rates, steps.work())
    kept = steps.pruned(planned.rates, lines)
    return PrunedTokens(planned, share, damage, tried, kept)


def _at(rate: float, names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: np.asarray(rate, np.float32) for name in names}


def _as_inputs(rates: Mapping[int, float], names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Return the rate behind each layer, that of the step before where it has none."""
    rate, found = 1.0, {}
    for layer, name in names.items():
        rate = rates.get(layer, rate)
        found[name] = np.asarray(rate, np.float32)
    return found


def _planned(context: Context) -> PlannedTokens | None:
    """Return what the plan says of tokens, unless something else is asked for."""
    planned = None if context.plan is None else context.plan.tokens
    asked = context.config.prune_tokens
    return planned if planned is not None and asked in (None, planned.asked) else None


def _refuse_head(context: Context) -> None:
    try:
        head: Head = context.head
    except ModelError as error:
        raise OptionError(f"`prune_tokens` is for models that answer with classes or embeddings: {error}") from error
    if not isinstance(head, ClassLogits | LabelLogits | ScoreHead | SentenceEmbedding):
        raise OptionError(
            f"`prune_tokens` is for models that answer with classes or an embedding a text, and {context.dense.path} answers "
            f"with {head.kind.replace('_', ' ')} ({head.output}): leave it out"
        )


def _steps(model: OnnxModel, context: Context) -> TokenSteps:
    batch = next(iter(context.batches or made_up_batches(model.ir)), None)
    if batch is None:
        raise ModelError(f"`prune_tokens`: no input can be made up for {model.path}; give `calibration` text")
    try:
        return TokenSteps.of(model.ir, batch)
    except ModelError as error:
        raise _unprunable(context, error) from error


def _unprunable(context: Context, error: ModelError) -> ModelError:
    return ModelError(f"`prune_tokens` cannot take tokens out of {context.dense.path}: {error}; or leave it out")


def _refuse_places(context: Context, steps: TokenSteps) -> None:
    """Raise ModelError if the model answers otherwise when tokens change places behind its layers, or does not run with fewer."""
    try:
        batches = spread(context.batches or [next(made_up_batches(context.dense.ir))], PROBE_TOKENS // 8)
        probe, names = steps.with_rates_as_inputs({})
        whole = _at(1.0, names.values())
        session = open_graph(probe, context.config.provider, part="a part")
        meter = OutputErrorMeter(session, batches, whole, context.known_head)
        meter.output_error(_at(0.5, names.values()))
        moved = _moved_by_order(context, batches, meter)
    except ModelError as error:
        raise _unprunable(context, error) from error
    if moved > REORDERED:
        raise _unprunable(
            context,
            ModelError(
                f"its answers move by {moved:.2g} of their variance when tokens only change places behind the first attention, "
                "so a later layer knows where they stand"
            ),
        )


def _moved_by_order(context: Context, batches: Sequence[CalibrationBatch], reordered: OutputErrorMeter) -> float:
    """Return how far answers of the dense model are from those with tokens in the order of their scores."""
    session = open_graph(context.dense.ir, context.config.provider, part="the model")
    dense = OutputErrorMeter(session, batches, {}, context.known_head)
    return reordered.distance_to(dense)


def _meter(context: Context, steps: TokenSteps, lines: Lines) -> tuple[OutputErrorMeter, dict[int, str]]:
    """Return what measures the damage at rates behind each layer, which are these inputs."""
    probe, names = steps.with_rates_as_inputs(lines)
    batches = spread(context.batches, PROBE_TOKENS)
    session = open_graph(probe, context.config.provider, part="a part")
    return OutputErrorMeter(session, batches, _at(1.0, names.values()), context.known_head), names


def _refuse_too_few(asked: float, share: float) -> None:
    if share > asked + 1e-9:
        raise OptionError(
            f"`prune_tokens` {asked} cannot be reached: all tokens go through the first attention, and with the fewest "
            f"behind it {share:.2f} of the multiplications stay; ask for more"
        )
