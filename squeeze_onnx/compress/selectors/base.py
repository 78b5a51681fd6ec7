"""The one-method protocol of a selector, and what it returns."""

from dataclasses import dataclass
from typing import Protocol, Self

from squeeze_onnx.spectral.rmt.spectrum import Spectrum


@dataclass(frozen=True)
class RankChoice:
    """How many components are signal.

    The ``rank`` largest singular values are kept: those above ``threshold`` (in the unit of the spectrum).
    ``selector`` is the name of who chose, ``reason`` a sentence for people.
    """

    rank: int
    threshold: float
    selector: str
    reason: str

    @classmethod
    def leading(cls, spectrum: Spectrum, rank: int, selector: str, reason: str) -> Self:
        """Keep the ``rank`` largest, or all if there are fewer; the threshold is the largest one dropped, or 0."""
        rank = min(rank, spectrum.smaller_dimension)
        dropped = spectrum.singular_values[rank:]
        return cls(rank, float(dropped[0]) if dropped.size else 0.0, selector, reason)


class RankSelector(Protocol):
    """Look at one spectrum and propose a rank."""

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Choose a rank between 0 and the length of ``spectrum``; 0 for a matrix of zeros."""
        ...
