"""The methods that ``--method`` names: how each sees a weight, and the allocator that spends its budget.

A new method is one line in `METHODS`; a new way to see a weight is a file in `squeeze_onnx.weightings`, a new way to spend
a budget one in `squeeze_onnx.allocators`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from squeeze_onnx.allocators import Allocator, Alternative, EdgeDistance, GlobalBudget, Objective, Uniform
from squeeze_onnx.fisher import ElementFisher, Fisher, OutputFisher, RowFisher
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.moments import Moments
from squeeze_onnx.weightings import (
    ElementWise,
    FisherRows,
    Identity,
    Kronecker,
    Standardization,
    Weighting,
    Whitening,
)

WeightingOf = Callable[[MatMulSite], Weighting]
"""The weighting through which the weight of a site is seen."""

NO_FISHER: Mapping[str, Fisher] = MappingProxyType({})
"""What a method without gradients knows of Fisher information."""


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
    def fisher(self) -> type[Fisher] | None:
        """Name the Fisher information that it weighs by, which takes gradients; None for none."""
        ...

    @property
    def learns(self) -> bool:
        """Say whether which components stay is learned on the calibration data (`squeeze_onnx.learning.soco`)."""
        ...

    @property
    def refits(self) -> bool:
        """Say whether weights are regressed unless something else is asked for."""
        ...

    @property
    def heeds_floors(self) -> bool:
        """Say whether the allocator keeps each candidate's floor, and goes by other objectives than parameters."""
        ...

    def allocator(self, keep: float, alternatives: tuple[Alternative, ...], objective: Objective) -> Allocator:
        """Make the allocator for a fraction of what ``objective`` counts, given what several sites could do together."""
        ...

    def weighting_of(self, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher] = NO_FISHER) -> WeightingOf:
        """Return the weighting of each site, given the second moments of the inputs and Fisher information by site name."""
        ...


@dataclass(frozen=True)
class DataFree:
    """A method that looks at weights only: one weighting for all sites."""

    summary: str
    weighting: Weighting
    spend: Callable[[float], Allocator]
    needs_calibration = False
    probes = False
    fisher = None
    learns = False
    refits = False
    heeds_floors = False

    def allocator(self, keep: float, alternatives: tuple[Alternative, ...], objective: Objective) -> Allocator:
        """Make the allocator, which counts parameters; what sites do together is not seen without data."""
        return self.spend(keep)

    def weighting_of(self, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher] = NO_FISHER) -> WeightingOf:
        """Ignore both."""
        return lambda site: self.weighting


@dataclass(frozen=True)
class DataAware:
    """A method whose weighting of each site is made of the second moment of its inputs."""

    summary: str
    weighting: Callable[[Moments], Weighting]
    spend: Callable[[float, tuple[Alternative, ...], Objective], Allocator]
    probes: bool = False
    learns: bool = False
    refits: bool = True
    needs_calibration = True
    fisher = None
    heeds_floors = True

    def allocator(self, keep: float, alternatives: tuple[Alternative, ...], objective: Objective) -> Allocator:
        """Make the allocator."""
        return self.spend(keep, alternatives, objective)

    def weighting_of(self, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher] = NO_FISHER) -> WeightingOf:
        """Weight each site by its own moments."""

        def weighting(site: MatMulSite) -> Weighting:
            return self.weighting(moments[site.name])

        return weighting


@dataclass(frozen=True)
class GradientAware:
    """A method whose weighting of each site is made of the second moment of its inputs and of Fisher information there."""

    summary: str
    weighting: Callable[[Moments, Any], Weighting]
    fisher: type[Fisher]
    spend: Callable[[float, tuple[Alternative, ...], Objective], Allocator]
    probes: bool = False
    refits: bool = False
    heeds_floors: bool = False
    needs_calibration = True
    learns = False

    def allocator(self, keep: float, alternatives: tuple[Alternative, ...], objective: Objective) -> Allocator:
        """Make the allocator."""
        return self.spend(keep, alternatives, objective)

    def weighting_of(self, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher] = NO_FISHER) -> WeightingOf:
        """Weight each site by its own moments and Fisher information."""

        def weighting(site: MatMulSite) -> Weighting:
            return self.weighting(moments[site.name], fisher[site.name])

        return weighting


def refit_weighting(inputs: Moments, fisher: Fisher | None) -> Weighting:
    """Return what a regressed weight is truncated in: the metric of its ``inputs``, and of its outputs if ``fisher`` has that."""
    return Kronecker(inputs, fisher) if isinstance(fisher, OutputFisher) else Whitening(inputs)


METHODS: dict[str, Method] = {
    "squeeze": DataFree("standardize, SVD, Marchenko–Pastur, Tracy–Widom, truncate", Standardization(), EdgeDistance),
    "svd": DataFree("truncated SVD, the same fraction of every weight", Identity(), Uniform),
    "whiten": DataAware(
        "SVD of the outputs, one budget by what each weight does to the result", Whitening, GlobalBudget, probes=True
    ),
    "fisher": GradientAware(
        "SVD of the outputs in the metric of what they do to the answer, one budget",
        Kronecker,
        OutputFisher,
        GlobalBudget,
        probes=True,
        refits=True,
        heeds_floors=True,
    ),
    "fwsvd": GradientAware(
        "rows weighted by their Fisher information, the same fraction of every weight",
        lambda moments, fisher: FisherRows(fisher),
        RowFisher,
        lambda keep, alternatives, objective: Uniform(keep),
    ),
    "tfwsvd": GradientAware(
        "entries weighted by their Fisher information, the same fraction of every weight",
        lambda moments, fisher: ElementWise(fisher),
        ElementFisher,
        lambda keep, alternatives, objective: Uniform(keep),
    ),
    "soco": DataAware(
        "learn through the model which components stay, one budget by what each is worth",
        Whitening,
        GlobalBudget,
        learns=True,
        refits=False,
    ),
}
