"""What a user asks for: frozen, validated, JSON both ways."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self, get_args

from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.precision import PRECISIONS, TARGETS, THIS
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.compress.selectors import NoiseModel, RankSelector, selector_of
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.graph.fused.fusion import FUSIONS
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.spectral.decompositions import DecompositionSettings
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.readable import bytes_of
from squeeze_onnx.support.suggestions import did_you_mean
from squeeze_onnx.support.typed_fields import check_fields

AboveBreakEven = Literal["leave", "denoise"]

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

ALL_ROLES = "all"
"""The key of the floor for every role that has none of its own."""

Objectives = Literal["parameters", "size", "latency"]

DEFAULT_OBJECTIVE: Objectives = "parameters"

Effort = Literal["quick", "balanced", "best"]

DEFAULT_KEEP = 0.75
"""What stays when a method needs a budget and none is given."""


class _JsonConfig:
    """JSON both ways for a frozen dataclass of plain values."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, tuples as lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Build from plain values; raises OptionError for a key this configuration does not have."""
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        for key in document:
            if key not in known:
                raise OptionError(f"unknown configuration key {key!r}; known keys are {', '.join(sorted(known))}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in document.items()})


@made_by_name
@dataclass(frozen=True)
class AnalyzeConfig(_JsonConfig):
    """How spectra are judged.

    noise: estimator of the noise level σ: entries, median or bulk (`squeeze_onnx.spectral.rmt.noise.NOISE_ESTIMATORS`).
    probability: Tracy–Widom quantile of the noise edge, between 0 and 1.
    simulations: draws behind each Kolmogorov–Smirnov p-value.
    include: roles taken in beside those of the layers: embedding, pooler, classifier, other.
    exclude: roles, or names of single sites, that are left out.
    seed: seed of all random numbers.
    dequantize: whether weights stored as integers are turned into floats first.
    freeze_inputs: whether initializers that are graph inputs too become constants (`squeeze_onnx.compress.preparing`).
    """

    noise: str = "entries"
    probability: float = 0.95
    simulations: int = 99
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seed: int = 0
    dequantize: bool = False
    freeze_inputs: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        _one_of("noise", self.noise, NOISE_ESTIMATORS)
        if not 0 < self.probability < 1:
            raise OptionError(f"`probability` is a float between 0 and 1, both excluded; got {self.probability}")
        if self.simulations < 1:
            raise OptionError(f"`simulations` is a positive integer; got {self.simulations}")
        for role in self.include:
            _one_of("include", role, [str(role) for role in Role])


@made_by_name
@dataclass(frozen=True)
class OptimizeConfig(AnalyzeConfig):
    """How a model is squeezed.

    method: auto, squeeze, svd, whiten, fisher, fwsvd, tfwsvd or soco (`squeeze_onnx.compress.methods.METHODS`).
    keep: fraction that stays of what ``objective`` counts; None for 0.75 where the method needs a budget.
    floor: least fraction of each weight's own parameters, by role, or under ``all`` for roles that have none of their own.
    preset: a regime of the SQUEEZE paper instead of a budget: paper-ffn or paper-size.
    above_break_even: what becomes of a site whose rank is too high for factors to pay: leave it, or write it back as one dense
        matrix of that rank (denoise).
    slice_neurons: whether methods that look at activations may take whole neurons out of feed-forward blocks.
    thin_heads: whether they may take dimensions out of attention heads.
    joint_qkv: whether query, key and value, or two of them, may share one left factor.
    refit: whether every weight is regressed on what the squeezed model before it returns; None for yes with whiten and fisher.
    external_data: whether weights are written beside model.onnx.
    fuse: provider for which operators are fused, cpu or cuda; None for plain ONNX.
    provider: where the model is run to look at activations: cpu or cuda.
    distill: steps that the squeezed model then learns to imitate the dense one; auto goes by the amount of text.
    distill_layers: fraction of these steps that goes through single layers first.
    objective: what ``keep`` is a fraction of: parameters of eligible weights, or of the whole model its size or latency.
    batch_size: sequences that latency is measured on.
    sequence_length: tokens of each of them.
    threads: intra-op threads of ONNX Runtime, wherever a model is run or timed; None for its choice.
    precision: what weights are stored in: fp32, fp16, int8, int8-static, int8-int4 or int4; None for that of the plan,
        or of the model: int8 or int4 if it came quantized, else fp32.
    force_write: whether the model is written even if it answers far from what was predicted.
    decomposition: how singular triplets are found: exact, rsvd, rsi, or auto by shape.
    power_iterations: power iterations of rsi; None for as many as ``tolerance`` asks for.
    tolerance: error over the optimal one at which rsi stops.
    rank_rule: cuts each weight on its own instead of by a budget (`squeeze_onnx.compress.selectors.SELECTORS`).
    target_cpu: processors that products of integers are written for: any, avx2, avx512, vnni, arm64 or this; None for those of
        the plan, or any.
    pooling: how token embeddings become one where no file beside the model says it.
    prompt: what stands before every text: itself, or its name in config_sentence_transformers.json.
    answer: the output that is the answer, where a model has several; None to find it by names and shapes.
    max_size: bytes that model.onnx may have, or 10MB, instead of ``keep``: the best model that fits, in whatever ``precision``
        does least damage then unless one is given.
    effort: quick, balanced or best: how much text and learning a goal is worth (`squeeze_onnx.compress.efforts`); None for
        balanced with ``max_size``, and for nothing that is not said without.
    """

    method: str = "auto"
    keep: float | None = None
    floor: Mapping[str, float] = field(default_factory=dict)
    preset: str | None = None
    above_break_even: AboveBreakEven = "leave"
    slice_neurons: bool = True
    thin_heads: bool = True
    joint_qkv: bool = True
    refit: bool | None = None
    external_data: bool = False
    fuse: str | None = None
    provider: str = "cpu"
    distill: int | Literal["auto"] | None = None
    distill_layers: float = 0.0
    objective: Objectives = DEFAULT_OBJECTIVE
    batch_size: int = 1
    sequence_length: int = 128
    threads: int | None = None
    precision: str | None = None
    force_write: bool = False
    decomposition: str = "auto"
    power_iterations: int | None = None
    tolerance: float | None = None
    rank_rule: str | None = None
    target_cpu: str | None = None
    max_size: int | str | None = None
    effort: Effort | None = None

    @property
    def decomposing(self) -> DecompositionSettings:
        """How singular triplets are found."""
        return DecompositionSettings(self.decomposition, self.power_iterations, self.tolerance, self.seed)

    @property
    def rank_selector(self) -> RankSelector | None:
        """What cuts each weight on its own, None if a budget or the method's own rule does."""
        model = NoiseModel(NOISE_ESTIMATORS[self.noise](), self.probability)
        return None if self.rank_rule is None else selector_of(self.rank_rule, model)

    pooling: str | None = None
    prompt: str | None = None
    answer: str | None = None

    @property
    def asked(self) -> EmbeddingOptions:
        """What is said here of how the model's output is read."""
        return EmbeddingOptions(self.pooling, self.prompt, self.answer)

    @property
    def sliced(self) -> tuple[str, ...]:
        """What may lose columns, as `squeeze_onnx.compress.slicing.KINDS` names it."""
        asked = {"neurons": self.slice_neurons, "heads": self.thin_heads}
        return tuple(kind for kind, wanted in asked.items() if wanted)

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("method", self.method, ["auto", *METHODS])
        _one_of("above_break_even", self.above_break_even, get_args(AboveBreakEven))
        self._check_distillation()
        EmbeddingOptions(self.pooling, self.prompt, self.answer)
        if self.keep is not None and not 0 < self.keep <= 1:
            raise OptionError(f"`keep` is a float above 0 and up to 1; got {self.keep}")
        for role, share in self.floor.items():
            _one_of("floor", role, [ALL_ROLES, *map(str, Role)])
            if not 0 <= share <= 1:
                raise OptionError(f"`floor` is a float from 0 to 1, alone or as ROLE=F; got {share} for {role}")
        _one_of("objective", self.objective, get_args(Objectives))
        for option, value in (("batch_size", self.batch_size), ("sequence_length", self.sequence_length)):
            if value < 1:
                raise OptionError(f"`{option}` is a positive integer; got {value}")
        if self.fuse is not None:
            _one_of("fuse", self.fuse, FUSIONS)
        if self.precision is not None:
            self._check_precision(self.precision)
        if self.target_cpu is not None:
            _one_of("target_cpu", self.target_cpu, [THIS, *TARGETS])
        if self.preset is not None:
            _one_of("preset", self.preset, PRESETS)
            if self.keep is not None:
                raise OptionError(f"`preset` {self.preset} sets its own budget; leave out `keep`")
            if self.method not in ("auto", "squeeze"):
                raise OptionError(f"`preset` {self.preset} is a regime of `method` squeeze, not of {self.method}")
        self._check_goals()
        _ = self.decomposing, self.rank_selector  # raise OptionError
        self._check_rank_rule()

    def _check_rank_rule(self) -> None:
        if self.rank_rule is None:
            return
        for option, given in (("keep", self.keep), ("preset", self.preset), ("floor", self.floor)):
            if given:
                raise OptionError(f"`rank_rule` {self.rank_rule} cuts each weight on its own; leave out `{option}`")
        alone = [name for name, method in METHODS.items() if method.cuts_each_alone]
        if self.method not in ("auto", *alone):
            raise OptionError(
                f"`rank_rule` {self.rank_rule} cuts each weight on its own, as `method` {', '.join(alone)} do; "
                f"{self.method} spends one budget on all: leave it out, or give `keep`"
            )

    def _check_goals(self) -> None:
        if self.effort is not None:
            _one_of("effort", self.effort, get_args(Effort))
        if self.max_size is None:
            return
        object.__setattr__(self, "max_size", bytes_of(self.max_size, "max_size"))
        for option in ("keep", "preset", "rank_rule"):
            if getattr(self, option) is not None:
                raise OptionError(f"`max_size` is a budget by itself; leave out `{option}`")
        if self.objective != DEFAULT_OBJECTIVE:
            raise OptionError(f"`max_size` is a budget of bytes; leave out `objective` {self.objective}")
        budgeting = [name for name, method in METHODS.items() if method.heeds_floors]
        if self.method not in ("auto", *budgeting):
            raise OptionError(
                f"`max_size` spends one budget of bytes on all weights, as `method` {', '.join(budgeting)} do; "
                f"{self.method} does not: leave it out"
            )

    @property
    def byte_limit(self) -> int | None:
        """Bytes that the written model may have; None for as many as it takes."""
        assert not isinstance(self.max_size, str), "read when it was checked"
        return self.max_size

    def _check_distillation(self) -> None:
        if self.distill not in (None, "auto") and not (isinstance(self.distill, int) and self.distill > 0):
            raise OptionError(f"`distill` is a positive number of steps, or auto; got {self.distill}")
        if not 0 <= self.distill_layers <= 1:
            raise OptionError(f"`distill_layers` is a float from 0 to 1; got {self.distill_layers}")
        if self.distill_layers and self.distill is None:
            raise OptionError(
                f"`distill_layers` {self.distill_layers} is a part of the steps of `distill`; add `distill`, or leave it out"
            )

    def _check_precision(self, precision: str) -> None:
        _one_of("precision", precision, PRECISIONS)
        for option, provider in (("provider", self.provider), ("fuse", self.fuse)):
            if provider in FUSIONS and provider not in PRECISIONS[precision].providers:
                raise OptionError(
                    f"`precision` {precision} has no kernels on {provider}; leave out `{option}` {provider}"
                )


def _one_of(option: str, value: str, known: Any) -> None:
    if value not in known:
        raise OptionError(f"`{option}` is one of {', '.join(known)}; got {value!r}{did_you_mean(value, known)}")
