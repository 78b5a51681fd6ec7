"""Selectors by name, as ``rank_rule`` and plans have them: ``tracy-widom``, ``energy=0.9``, ``fixed=64``."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from squeeze_onnx.compress.selectors.base import RankSelector
from squeeze_onnx.compress.selectors.effective_rank import EffectiveRank
from squeeze_onnx.compress.selectors.energy import Energy
from squeeze_onnx.compress.selectors.fixed_rank import FixedRank
from squeeze_onnx.compress.selectors.optimal_hard_threshold import OptimalHardThreshold
from squeeze_onnx.compress.selectors.optimal_shrinkage import OptimalShrinkage
from squeeze_onnx.compress.selectors.stable_rank import StableRank
from squeeze_onnx.compress.selectors.tracy_widom import TracyWidomEdge
from squeeze_onnx.spectral.rmt.noise import NoiseEstimator
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class NoiseModel:
    """How noise is told from signal: the estimator of its level, and the ``probability`` of the Tracy–Widom edge."""

    noise: NoiseEstimator
    probability: float


@dataclass(frozen=True)
class RankRule:
    """A rule that has a name: how its selector is made of the noise model, or of the number behind the name.

    ``takes`` shows that number, None for a rule that has none.
    """

    make: Callable[[NoiseModel, str], RankSelector]
    takes: str | None = None


SELECTORS: dict[str, RankRule] = {
    "tracy-widom": RankRule(lambda model, _: TracyWidomEdge(model.probability, model.noise)),
    "hard-threshold": RankRule(lambda model, _: OptimalHardThreshold(model.noise)),
    "shrinkage": RankRule(lambda model, _: OptimalShrinkage(noise=model.noise)),
    "energy": RankRule(lambda _, number: Energy(float(number)), "F"),
    "stable-rank": RankRule(lambda *_: StableRank()),
    "effective-rank": RankRule(lambda *_: EffectiveRank()),
    "fixed": RankRule(lambda _, number: FixedRank(int(number)), "N"),
}

_NUMBERS = {"F": r"\d*\.?\d+(e-?\d+)?", "N": r"\d+"}


def selector_of(rule: str, model: NoiseModel) -> RankSelector:
    """Return the selector that ``rule``, NAME or NAME=NUMBER, stands for.

    Raises OptionError for an unknown name, and for a number that is missing, too much or out of range.
    """
    name, has_number, number = rule.partition("=")
    if name not in SELECTORS:
        raise OptionError(f"`rank_rule` is one of {', '.join(map(_spelled, SELECTORS))}; got {rule!r}")
    takes = SELECTORS[name].takes
    if bool(has_number) != (takes is not None) or (takes and not re.fullmatch(_NUMBERS[takes], number)):
        raise OptionError(f"`rank_rule` {name} is written {_spelled(name)}; got {rule!r}")
    return SELECTORS[name].make(model, number)


def _spelled(name: str) -> str:
    takes = SELECTORS[name].takes
    return f"{name}={takes}" if takes else name
