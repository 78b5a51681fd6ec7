"""The methods that ``method`` names: how each sees a weight, and the allocator that spends its budget.

A new method is one line in `METHODS`, and its name in `method_names` beside it; a new way to see a weight is a file in
`squeeze_onnx.spectral.weightings`, a new way to spend a budget one in `squeeze_onnx.compress.allocators`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from squeeze_onnx.compress.allocators import Allocator, Alternative, EdgeDistance, GlobalBudget, Objective, Uniform
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.fisher_moments import ElementFisher, Fisher, OutputFisher, RowFisher
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.spectral.weightings import (
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

Spend = Callable[[float, tuple[Alternative, ...], Objective], Allocator]
"""Makes the allocator for a fraction of what the objective counts, given what several sites could do together."""


@dataclass(frozen=True)
class Method:
    """One way to squeeze a model.

    summary: a line on what it does.
    weighting: makes the weighting of a site of the second moment of its inputs and of the Fisher information there; each is None
        unless the method asks for it.
    spend: how its budget becomes an allocator.
    needs_calibration: whether it looks at activations.
    fisher: the Fisher information that it weighs by, which takes gradients.
    probes: whether the allocator wants each site's sensitivity, measured on the calibration data.
    learns: whether which components stay is learned on that data (`squeeze_onnx.compress.soco`).
    refits: whether weights are regressed unless something else is asked for.
    heeds_floors: whether the allocator keeps each candidate's floor, and goes by other objectives than parameters.
    """

    summary: str
    weighting: Callable[[Any, Any], Weighting]
    spend: Spend
    needs_calibration: bool = False
    fisher: type[Fisher] | None = None
    probes: bool = False
    learns: bool = False
    refits: bool = False
    heeds_floors: bool = False

    @property
    def cuts_each_alone(self) -> bool:
        """Whether a weight's rank depends on that weight only, so that a rank rule can take the place of the budget."""
        return not (self.probes or self.learns)

    def weighting_of(self, moments: Mapping[str, Moments], fisher: Mapping[str, Fisher] = NO_FISHER) -> WeightingOf:
        """Return the weighting of each site, given the second moments of the inputs and Fisher information by site name."""
        return lambda site: self.weighting(moments.get(site.name), fisher.get(site.name))


def refit_weighting(inputs: Moments, fisher: Fisher | None) -> Weighting:
    """Return what a regressed weight is truncated in: the metric of its ``inputs``, and of its outputs if ``fisher`` has that."""
    return Kronecker(inputs, fisher) if isinstance(fisher, OutputFisher) else Whitening(inputs)


def _each_alone(allocator: Callable[[float], Allocator]) -> Spend:
    """Spend a budget site by site: what several sites could do together, and what a site costs, do not matter."""
    return lambda keep, alternatives, objective: allocator(keep)


METHODS: dict[str, Method] = {
    "squeeze": Method(
        "standardize, SVD, Marchenko–Pastur, Tracy–Widom, truncate",
        lambda moments, fisher: Standardization(),
        _each_alone(EdgeDistance),
    ),
    "svd": Method(
        "truncated SVD, the same fraction of every weight",
        lambda moments, fisher: Identity(),
        _each_alone(Uniform),
    ),
    "whiten": Method(
        "SVD of the outputs, one budget by what each weight does to the result",
        lambda moments, fisher: Whitening(moments),
        GlobalBudget,
        needs_calibration=True,
        probes=True,
        refits=True,
        heeds_floors=True,
    ),
    "fisher": Method(
        "SVD of the outputs in the metric of what they do to the answer, one budget",
        Kronecker,
        GlobalBudget,
        needs_calibration=True,
        fisher=OutputFisher,
        probes=True,
        refits=True,
        heeds_floors=True,
    ),
    "fwsvd": Method(
        "rows weighted by their Fisher information, the same fraction of every weight",
        lambda moments, fisher: FisherRows(fisher),
        _each_alone(Uniform),
        needs_calibration=True,
        fisher=RowFisher,
    ),
    "tfwsvd": Method(
        "entries weighted by their Fisher information, the same fraction of every weight",
        lambda moments, fisher: ElementWise(fisher),
        _each_alone(Uniform),
        needs_calibration=True,
        fisher=ElementFisher,
    ),
    "soco": Method(
        "learn through the model which components stay, one budget by what each is worth",
        lambda moments, fisher: Whitening(moments),
        GlobalBudget,
        needs_calibration=True,
        learns=True,
        heeds_floors=True,
    ),
}
