"""The one-method protocol of a precision, what it may look at, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.stored_bytes import StoredBytes
from squeeze_onnx.compress.precision.target_cpu import ANY, TargetCpu
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import is_lookup
from squeeze_onnx.spectral.decompositions import Automatic, Decomposer
from squeeze_onnx.spectral.moments import Moments, SecondMoment, TokenFrequency
from squeeze_onnx.support.progress import Track, silent

T = TypeVar("T")


class Encoded(Protocol):
    """A weight as it will be stored, in few bits."""

    def decoded(self) -> np.ndarray:
        """Return the weight (in, out) that the integers stand for."""
        ...


Encoder = Callable[[np.ndarray], Encoded]
"""Rounds a weight (in, out)."""


@dataclass(frozen=True)
class Evidence:
    """What a choice may go by: calibration data, what a plan has decided already, and the processors it is made for.

    ``kept`` are the names of sites (nodes for fp16) that a plan keeps in a higher precision; None lets them be chosen. What
    rounding loses is decomposed by ``decomposer``; ``head`` says how the outputs are read, if it is known. ``encoded`` are the
    weights of sites that learned to be stored as these very integers. What stays higher may take
    ``spare`` bytes more, any number if it is None.
    """

    batches: Sequence[CalibrationBatch] = ()
    kept: tuple[str, ...] | None = None
    provider: str = "cpu"
    track: Track = silent
    decomposer: Decomposer = field(default_factory=Automatic)
    target: TargetCpu = ANY
    head: Head | None = None
    encoded: Mapping[str, Encoded] = field(default_factory=dict)
    spare: float | None = None

    @property
    def ranking(self) -> Sequence[CalibrationBatch]:
        """The batches on which sites are ranked: every other one."""
        return self.batches[0::2]

    @property
    def checking(self) -> Sequence[CalibrationBatch]:
        """The batches on which a choice is checked: those in between, or all where there is one only."""
        return self.batches[1::2] or self.batches

    def learned(self, name: str, kind: type[T]) -> T | None:
        """Return what the weight of the site ``name`` learned to be, if it did, as this ``kind`` of integers."""
        found = self.encoded.get(name)
        return found if isinstance(found, kind) else None

    def moments(self, model: ir.Model, sites: Sequence[MatMulSite]) -> Mapping[str, Moments]:
        """Return what ``sites`` meet on the calibration data; without data every direction counts alike."""
        if self.batches and sites:
            return collect_moments(model, sites, self.batches, provider=self.provider, track=self.track)
        return {site.name: _anything(site) for site in sites}


def _anything(site: MatMulSite) -> Moments:
    if is_lookup(site):
        return TokenFrequency(np.zeros(site.in_features))
    return SecondMoment(np.eye(site.in_features), 1)


EIGHT_BITS = "eight bits"
"""How the reason of a site begins that is rounded all the same, only less."""


@dataclass(frozen=True)
class KeptSite:
    """A weight or node that stays in a higher precision; ``reason`` is a sentence about it."""

    name: str
    reason: str


@dataclass(frozen=True)
class Lowered:
    """A model in another precision.

    ``lowered`` are the sites in that precision, in graph order, ``kept`` the others. ``output_error`` is how far each site alone
    moves the outputs, as `OutputErrorMeter` measures, ``predicted`` how far all that are lowered do, both with weights that are
    rounded within the graph as it was. ``measured`` is how far the outputs of ``model`` itself are from those before. Empty and
    None if not known.
    """

    model: ir.Model
    lowered: tuple[str, ...] = ()
    kept: tuple[KeptSite, ...] = ()
    output_error: Mapping[str, float] = field(default_factory=dict)
    predicted: float | None = None
    measured: float | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for `report.json`."""
        return {
            "sites": [{"name": name, "damage": self.output_error.get(name)} for name in self.lowered],
            "kept": [
                {"name": site.name, "reason": site.reason, "damage": self.output_error.get(site.name)}
                for site in self.kept
            ],
            "damage": self.measured,
            "predicted_damage": self.predicted,
            "notes": list(self.notes),
        }


class Precision(Protocol):
    """A way to store and compute the weights of a squeezed model, called ``name`` on the command line.

    ``weights_apart`` says that no weight may lie inside a fused operator, ``providers`` where such a model runs,
    ``rounds_rows`` whether products are those of integers, which have to be right on the processor, and ``table_step`` of what
    the width of a table has to be a multiple for its rows to be rounded. ``stored`` counts the bytes of a weight.
    """

    name: ClassVar[str]
    weights_apart: ClassVar[bool]
    providers: ClassVar[tuple[str, ...]]
    rounds_rows: ClassVar[bool]
    table_step: ClassVar[int]
    stored: ClassVar[StoredBytes]

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Bring ``model``, which changes in place, into a form that rounds well, and return what rounds each of its weights.

        For a model that then learns with rounded weights; empty if that is not worth it.
        """
        ...

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Return ``model``, whose graph may change on the way, in this precision. Raises OptionError if data is missing."""
        ...
