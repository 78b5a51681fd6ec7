"""What a user asks for: frozen, validated, JSON both ways. Its parts are in `squeeze_onnx.compress.settings`."""

from dataclasses import dataclass

from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.selectors import NoiseModel, RankSelector, selector_of
from squeeze_onnx.compress.settings import (
    Budget,
    Distillation,
    FewerTokens,
    KeptWords,
    Output,
    Reading,
    Sites,
    Spectra,
    Steps,
    Vectors,
)
from squeeze_onnx.compress.settings.budget import ALL_ROLES, DEFAULT_KEEP, DEFAULT_OBJECTIVE, AboveBreakEven, Effort
from squeeze_onnx.compress.settings.output import refuse_without_kernels
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.spectral.decompositions import DecompositionSettings
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.parts import PartOf

DEFAULT_ROLES = frozenset(
    {
        Role.QUERY,
        Role.KEY,
        Role.VALUE,
        Role.QUERY_KEY_VALUE,
        Role.ATTENTION_OUTPUT,
        Role.FFN_IN,
        Role.FFN_OUT,
    }
)
"""Eligible without being asked for; the rest comes in by ``include``."""


@made_by_name
@dataclass(frozen=True)
class AnalyzeConfig(Sites, Spectra):
    """How spectra are judged, and of which weights."""

    sites = PartOf(Sites)
    spectra = PartOf(Spectra)


@made_by_name
@dataclass(frozen=True)
class OptimizeConfig(FewerTokens, KeptWords, Output, Vectors, Reading, Distillation, Steps, Budget, AnalyzeConfig):
    """How a model is squeezed: settings by name (``keep=0.5``), in parts (``budget=Budget(keep=0.5)``), or both.

    Those that contradict each other across parts are refused here.
    """

    budget = PartOf(Budget)
    steps = PartOf(Steps)
    distillation = PartOf(Distillation)
    reading = PartOf(Reading)
    vectors = PartOf(Vectors)
    output = PartOf(Output)
    kept_words = PartOf(KeptWords)
    fewer_tokens = PartOf(FewerTokens)

    @property
    def decomposing(self) -> DecompositionSettings:
        """How singular triplets are found."""
        return DecompositionSettings(self.decomposition, self.power_iterations, self.tolerance, self.seed)

    @property
    def rank_selector(self) -> RankSelector | None:
        """What cuts each weight on its own, None if a budget or the method's own rule does."""
        model = NoiseModel(NOISE_ESTIMATORS[self.noise](), self.probability)
        return None if self.rank_rule is None else selector_of(self.rank_rule, model)

    def check(self) -> None:
        """Raise OptionError for settings of two parts that do not go together."""
        if self.precision is not None:
            refuse_without_kernels(self.precision, "provider", self.provider)
        if self.prune_tokens is not None and self.distill_layers:
            raise OptionError(
                f"`distill_layers` {self.distill_layers} compares all tokens of single layers, and `prune_tokens` takes some "
                "out: leave one of them out"
            )
        if self.preset is not None and self.method not in ("auto", "squeeze"):
            raise OptionError(f"`preset` {self.preset} is a regime of `method` squeeze, not of {self.method}")
        budgeting = [name for name, method in METHODS.items() if method.heeds_floors]
        if self.max_size is not None and self.method not in ("auto", *budgeting):
            raise OptionError(
                f"`max_size` spends one budget of bytes on all weights, as `method` {', '.join(budgeting)} do; "
                f"{self.method} does not: leave it out"
            )
        weighing = [name for name, method in METHODS.items() if method.probes]
        each_alone = self.preset is not None or self.rank_rule is not None or self.method not in ("auto", *weighing)
        if self.keep_cache is not None and (each_alone or not self.thin_heads):
            raise OptionError(
                f"`keep_cache` takes dimensions out of heads, as `method` {' and '.join(weighing)} do with `thin_heads`, by what "
                "that does to the answer: leave out what forbids it, or `keep_cache`"
            )
        if self.remove_sublayers and each_alone:
            raise OptionError(
                f"`remove_sublayers` weighs what goes against what else could, as `method` {' and '.join(weighing)} do under a "
                "budget: leave out what forbids it, or `remove_sublayers`"
            )
        _ = self.decomposing, self.rank_selector  # raise OptionError
        alone = [name for name, method in METHODS.items() if method.cuts_each_alone]
        if self.rank_rule is not None and self.method not in ("auto", *alone):
            raise OptionError(
                f"`rank_rule` {self.rank_rule} cuts each weight on its own, as `method` {', '.join(alone)} do; "
                f"{self.method} spends one budget on all: leave it out, or give `keep`"
            )


__all__ = [
    "ALL_ROLES",
    "DEFAULT_KEEP",
    "DEFAULT_OBJECTIVE",
    "DEFAULT_ROLES",
    "AboveBreakEven",
    "AnalyzeConfig",
    "Effort",
    "OptimizeConfig",
]
