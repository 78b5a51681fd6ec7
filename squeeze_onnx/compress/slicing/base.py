"""What can be sliced: a block of sites with something between them that comes in columns, some of which can go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Slicing
from squeeze_onnx.compress.sensitivity import Prober
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.fisher_moments import Fisher, OutputFisher
from squeeze_onnx.spectral.moments import Moments, SecondMoment


class Block(Protocol):
    """Sites of one model around columns of which some can go."""

    @property
    def name(self) -> str:
        """The name of one of its sites, which no other block has."""
        ...

    @property
    def sites(self) -> tuple[MatMulSite, ...]:
        """All its sites."""
        ...

    @property
    def columns(self) -> int:
        """How many columns there are."""
        ...

    @property
    def parts(self) -> int:
        """In how many parts of equal size they come."""
        ...

    def shapes(self, columns: int) -> dict[str, tuple[int, int]]:
        """Return the shape (in, out) of each site's weight, by name, if so many ``columns`` stay."""
        ...


class Measurement(Protocol):
    """What is known of a block; it knows sites by name, so that it fits any copy of the model."""

    def probed(self, prober: Prober) -> Self:
        """Return it with what only running the model can tell."""
        ...

    def slicing(self, candidates: Mapping[str, Candidate]) -> Slicing:
        """Return the block as an allocator sees it, next to the ``candidates`` of its sites, seen through their activations."""
        ...


B = TypeVar("B", bound=Block)
M = TypeVar("M", bound=Measurement)


_B_contra = TypeVar("_B_contra", bound=Block, contravariant=True)
_M_contra = TypeVar("_M_contra", bound=Measurement, contravariant=True)


class Prune(Protocol[_B_contra, _M_contra]):
    """How columns are taken out."""

    def __call__(
        self, rewriter: Rewriter, block: _B_contra, measured: _M_contra, columns: int, *, shift_biases: bool
    ) -> dict[str, TruncationErrors]:
        """Keep so many ``columns`` of ``block``; return the errors by site.

        With ``shift_biases`` the mean of what went goes to the bias behind it, where there is one.
        """
        ...


@dataclass(frozen=True)
class SiteStatistics:
    """What is known of each site by name: the second moment of what it reads, and what its outputs do to the answer.

    A method that weighs outputs by ``fisher`` counts errors in that metric, those of slices too; for others it is empty.
    """

    moments: Mapping[str, SecondMoment]
    fisher: Mapping[str, OutputFisher]

    @classmethod
    def of(cls, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher]) -> Self:
        """Leave out what no block has (lookups), and Fisher information that says nothing of outputs."""
        return cls(
            {name: each for name, each in moments.items() if isinstance(each, SecondMoment)},
            {name: each for name, each in fisher.items() if isinstance(each, OutputFisher)},
        )

    def weight(self, site: MatMulSite) -> np.ndarray:
        """Return the weight of ``site`` (in, out), its columns changed so that plain errors of the output are what counts."""
        weight = read_weight(site)
        return self.fisher[site.name].weigh(weight) if site.name in self.fisher else weight


@dataclass(frozen=True)
class SlicingKind(Generic[B, M]):
    """One kind of block: how to find it, to measure it given what is known of its sites, and to slice it."""

    find: Callable[[Sequence[MatMulSite]], Sequence[B]]
    measure: Callable[[B, SiteStatistics], M]
    prune: Prune[B, M]
