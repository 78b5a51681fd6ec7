"""The one-method protocol of an allocator, and what it sees of a site and of several at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.compress.allocators.objective import Cost
from squeeze_onnx.compress.allocators.removal_choice import RemovalChoice
from squeeze_onnx.compress.allocators.share_choice import ShareChoice
from squeeze_onnx.compress.allocators.slice_choice import SliceChoice
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum

Choice = RankChoice | SliceChoice | ShareChoice | RemovalChoice


@dataclass(frozen=True)
class Candidate:
    """A site as an allocator sees it.

    ``spectrum`` is that of the weighted weight, ``edge`` the singular value up to which it could be noise (same units),
    ``extra_rank`` the rank that undoing the weighting adds to every truncation, ``sensitivity`` the error of the model's
    output per relative squared error of the site's own output, and ``floor`` the least fraction of its parameters that stays.
    The rank of its factors is a multiple of ``rank_step``; ``rounded`` says that they are stored in eight bits or fewer;
    ``is_table`` says that rows of the weight are looked up.
    """

    name: str
    spectrum: Spectrum
    edge: float
    extra_rank: int = 0
    sensitivity: float = 1.0
    floor: float = 0.0
    rank_step: int = 1
    rounded: bool = False
    is_table: bool = False

    @property
    def dense_parameters(self) -> int:
        """Parameters of the dense weight."""
        rows, columns = self.spectrum.shape
        return rows * columns

    def parameters(self, rank: int) -> int:
        """Parameters with ``rank`` components kept: those of two factors of rank ≥ 1, or of the dense weight if fewer."""
        rows, columns = self.spectrum.shape
        return min(max(rank + self.extra_rank, 1) * (rows + columns), self.dense_parameters)

    def dense_cost(self, cost: Cost) -> float:
        """What the dense weight costs."""
        rows, columns = self.spectrum.shape
        return float(cost.into(rows, np.array([columns]))[0])

    def factored_costs(self, ranks: np.ndarray, cost: Cost) -> np.ndarray:
        """What two factors cost with each of ``ranks`` components kept."""
        rows, columns = self.spectrum.shape
        total = ranks + self.extra_rank
        return np.asarray(cost.into(rows, total) + cost.out_of(total, columns))


class Alternative(Protocol):
    """One decision for several sites at once, instead of a rank for each."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Their names; several alternatives may be about the same site."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """What there is to choose from, descending."""
        ...

    @property
    def sizes_are_ranks(self) -> bool:
        """Say whether sizes are matrix ranks."""
        ...

    def costs(self, cost: Cost) -> np.ndarray:
        """What all its sites cost at each size."""
        ...

    @property
    def output_error(self) -> np.ndarray:
        """What each size does to the model's output, in units of ``sensitivity`` · relative squared error."""
        ...

    def choices(self, size: int, reason: str) -> Mapping[str, Choice]:
        """What it means for each site to choose ``size``."""
        ...


class Allocator(Protocol):
    """Decide how many components of each site stay, or which shape."""

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, Choice]:
        """Choose for each candidate, by its name; a rank lies between 0 and the length of its spectrum."""
        ...


def parameter_budget(candidates: Sequence[Candidate], keep: float) -> int:
    """Parameters that a fraction ``keep`` of the candidates' weights allows."""
    return int(keep * sum(candidate.dense_parameters for candidate in candidates))
