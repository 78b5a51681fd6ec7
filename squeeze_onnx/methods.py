"""The methods that ``--method`` names: how each sees a weight, and the allocator that spends its budget.

A new method is one line in `METHODS`; a new way to see a weight is a file in `squeeze_onnx.weightings`, a new way to spend
a budget one in `squeeze_onnx.allocators`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from squeeze_onnx.allocators import Allocator, EdgeDistance, GlobalBudget, Slicing, Uniform
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.moments import Moments
from squeeze_onnx.weightings import Identity, Standardization, Weighting, Whitening

WeightingOf = Callable[[MatMulSite], Weighting]
"""The weighting through which the weight of a site is seen."""


class Method(Protocol):
    """One way to squeeze a model."""

    @property
    def summary(self) -> str:
        """Say in a line what it does."""
        ...

    @property
    def needs_calibration(self) -> bool:
        """Say whether it looks at activations."""
        ...

    @property
    def probes(self) -> bool:
        """Say whether the allocator wants each site's sensitivity, measured on the calibration data."""
        ...

    @property
    def learns(self) -> bool:
        """Say whether which components stay is learned on the calibration data (`squeeze_onnx.learning.soco`)."""
        ...

    @property
    def refits(self) -> bool:
        """Say whether a plan of it is refitted unless somebody says otherwise."""
        ...

    @property
    def heeds_floors(self) -> bool:
        """Say whether the allocator keeps each candidate's floor."""
        ...

    def allocator(self, keep: float, slicings: tuple[Slicing, ...]) -> Allocator:
        """Make the allocator for a fraction of the eligible parameters, given the blocks that could lose columns."""
        ...

    def weighting_of(self, moments: Mapping[str, Moments]) -> WeightingOf:
        """Return the weighting of each site, given the second moments of the inputs by site name."""
        ...


@dataclass(frozen=True)
class DataFree:
    """A method that looks at weights only: one weighting for all sites."""

    summary: str
    weighting: Weighting
    spend: Callable[[float], Allocator]
    needs_calibration = False
    probes = False
    learns = False
    refits = False
    heeds_floors = False

    def allocator(self, keep: float, slicings: tuple[Slicing, ...]) -> Allocator:
        """Make the allocator; what neurons and heads do is not seen without data."""
        return self.spend(keep)

    def weighting_of(self, moments: Mapping[str, Moments]) -> WeightingOf:
        """Ignore the moments."""
        return lambda site: self.weighting


@dataclass(frozen=True)
class DataAware:
    """A method whose weighting of each site is made of the second moment of its inputs."""

    summary: str
    weighting: Callable[[Moments], Weighting]
    spend: Callable[[float, tuple[Slicing, ...]], Allocator]
    probes: bool = False
    learns: bool = False
    refits: bool = True
    needs_calibration = True
    heeds_floors = True

    def allocator(self, keep: float, slicings: tuple[Slicing, ...]) -> Allocator:
        """Make the allocator."""
        return self.spend(keep, slicings)

    def weighting_of(self, moments: Mapping[str, Moments]) -> WeightingOf:
        """Weight each site by its own moments."""

        def weighting(site: MatMulSite) -> Weighting:
            return self.weighting(moments[site.name])

        return weighting


METHODS: dict[str, Method] = {
    "squeeze": DataFree("standardize, SVD, Marchenko–Pastur, Tracy–Widom, truncate", Standardization(), EdgeDistance),
    "svd": DataFree("truncated SVD, the same fraction of every weight", Identity(), Uniform),
    "whiten": DataAware(
        "SVD of the outputs, one budget by what each weight does to the result", Whitening, GlobalBudget, probes=True
    ),
    "soco": DataAware(
        "learn through the model which components stay, one budget by what each is worth",
        Whitening,
        GlobalBudget,
        learns=True,
        refits=False,
    ),
}
