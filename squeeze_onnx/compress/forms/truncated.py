"""A weight whose rank is cut: written as two thin factors, or, above break-even, back as one matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.planned_site import Approximation, Form, PlannedSite, break_even_rank, is_count
from squeeze_onnx.compress.truncation import TruncationErrors, truncate
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Decomposer, Factors
from squeeze_onnx.spectral.weightings import Weighting
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class Truncated(Form):
    """A weight of matrix rank ``rank``."""

    rank: int

    keys: ClassVar[tuple[str, ...]] = ("rank",)
    truncates: ClassVar[bool] = True

    @property
    def matrix_rank(self) -> int:
        """The rank of the new weight."""
        return self.rank

    def to_json(self) -> dict[str, Any]:
        """Return the rank."""
        return {"rank": self.rank}

    def approximate(
        self,
        weights: Sequence[np.ndarray],
        sensitivities: Sequence[float],
        weighting: Weighting,
        decomposer: Decomposer,
    ) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
        """Truncate the one weight."""
        [weight] = weights
        factors, errors = truncate(weight, self.rank, weighting, decomposer)
        return [factors], [errors]


@dataclass(frozen=True)
class Factored(Truncated):
    """Two thin matrices, (in, rank) and (rank, out), which are smaller than the weight."""

    treatment: ClassVar[str] = "factored"
    thin: ClassVar[bool] = True

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Take a rank up to break-even."""
        rank = read_rank(entry, min(shape))
        return None if rank is None or rank > break_even_rank(*shape) else cls(rank)

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return what both factors cost."""
        rank = np.array([self.rank])
        return float(cost.into(site.shape[0], rank)[0]) + float(cost.out_of(rank, site.shape[1])[0])

    def put(self, rewriter: Rewriter, sites: Sequence[MatMulSite], found: Sequence[Approximation]) -> None:
        """Write the left factor once, and a right one for each of ``sites``."""
        factors = [each for each in found if isinstance(each, Factors)]  # as `approximate` returns them
        rewriter.factor_jointly(sites, factors[0].left, [each.right for each in factors])


@dataclass(frozen=True)
class Denoised(Truncated):
    """One matrix, of the shape that it had: two factors of its rank would be larger."""

    treatment: ClassVar[str] = "denoised"

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Take a rank above break-even."""
        rank = read_rank(entry, min(shape))
        return None if rank is None or rank <= break_even_rank(*shape) else cls(rank)

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return what the weight costs."""
        return site.dense_cost(cost)

    def reported(self) -> dict[str, Any]:
        """Return nothing: ranks in report.json are those of factors."""
        return {}


def read_rank(entry: Mapping[str, Any], largest: int) -> int | None:
    """Return the rank in the ``entry`` of a plan; raises OptionError for one that is no integer from 1 to ``largest``."""
    rank = entry.get("rank")
    if rank is not None and not (is_count(rank) and rank <= largest):
        raise OptionError(f'"rank" is {rank!r}, not null or an integer from 1 to {largest}')
    return rank
