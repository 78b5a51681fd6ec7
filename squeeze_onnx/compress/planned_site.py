"""What is planned for one site: its form, and what the form says of cost, of its entry in a plan, and of how it is carried out.

The forms are in `squeeze_onnx.compress.forms`, a file each.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from squeeze_onnx.compress.allocators.objective import PARAMETERS, Cost
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.spectral.decompositions import Decomposer
from squeeze_onnx.spectral.weightings import Weighting


class Approximation(Protocol):
    """What stands in the place of a weight (in, out), such as `squeeze_onnx.spectral.decompositions.Factors`."""

    def product(self) -> np.ndarray:
        """Return the matrix (in, out) that it stands for."""
        ...


class Form(ABC):
    """What becomes of the weight of a site. Its fields are plain values, those of its ``keys`` in plan.json.

    ``treatment`` is what reports call it. One that ``truncates`` changes its weight on its own; the others change theirs only if
    weights are regressed. One that is ``thin`` is written as factors.
    """

    treatment: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    truncates: ClassVar[bool] = False
    thin: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Return what the ``entry`` of a weight of ``shape`` (in, out) asks for; None if that is another form.

        Raises OptionError, with what is wrong about which key, if it asks for this form as it cannot be.
        """

    @abstractmethod
    def cost(self, site: "PlannedSite", cost: Cost) -> float:
        """Return what stands in the place of the weight of ``site`` costs."""

    @classmethod
    def check(cls, sites: Sequence[MatMulSite], plan: Sequence["PlannedSite"], method: str) -> None:
        """Raise OptionError, naming the site, unless ``sites`` allow what ``plan`` (one entry per site, same order) says."""
        return  # most forms suit every site

    def group(self, name: str) -> str:
        """Return by what name sites go that are carried out together; ``name`` is that of the site."""
        return name

    @property
    def matrix_rank(self) -> int | None:
        """The rank of the new weight; None if it is not cut."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the ``keys`` of the entry in plan.json."""
        return {}

    def reported(self) -> dict[str, Any]:
        """Return what report.json says of it, beside the treatment."""
        return self.to_json()

    def approximate(
        self,
        weights: Sequence[np.ndarray],
        sensitivities: Sequence[float],
        weighting: Weighting,
        decomposer: Decomposer,
    ) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
        """Approximate the ``weights`` of a group of sites; there are no errors if they stay what they are."""
        return [Whole(weight) for weight in weights], []

    def put(self, rewriter: Rewriter, sites: Sequence[MatMulSite], found: Sequence[Approximation]) -> None:
        """Write what was ``found`` by `approximate` in the place of the weights of ``sites``."""
        for site, each in zip(sites, found, strict=True):
            rewriter.replace(site, each.product())


@dataclass(frozen=True, eq=False)
class Whole:
    """A weight as it is."""

    weight: np.ndarray

    def product(self) -> np.ndarray:
        """Return it."""
        return self.weight


@dataclass(frozen=True)
class PlannedSite:
    """A site, what becomes of it, and why.

    ``break_even_rank`` is the largest rank at which two factors are smaller than the weight. ``sensitivity`` is what a relative
    squared error of the site's output does to that of the model; sites that share a left factor share it by that.
    """

    name: str
    layer: int | None
    role: str
    shape: tuple[int, int]
    break_even_rank: int
    form: Form
    reason: str
    sensitivity: float = 1.0

    @property
    def group(self) -> str:
        """The name that sites have in common which are carried out together."""
        return self.form.group(self.name)

    @property
    def treatment(self) -> str:
        """What reports call the form."""
        return self.form.treatment

    @property
    def rank(self) -> int | None:
        """The matrix rank of the new weight; None if it is not cut."""
        return self.form.matrix_rank

    @property
    def dense_parameters(self) -> int:
        """Parameters of the original weight."""
        return self.shape[0] * self.shape[1]

    @property
    def kept_parameters(self) -> int:
        """Parameters of what stands in its place."""
        return int(self.form.cost(self, PARAMETERS.cost))

    def dense_cost(self, cost: Cost) -> float:
        """Return what the original weight costs."""
        rows, columns = self.shape
        return float(cost.into(rows, np.array([columns]))[0])

    def kept_cost(self, cost: Cost) -> float:
        """Return what stands in its place costs."""
        return self.form.cost(self, cost)

    def to_json(self) -> dict[str, Any]:
        """Return its entry in plan.json, where keys of the first forms are null for the others."""
        return {
            "name": self.name,
            "layer": self.layer,
            "role": self.role,
            "shape": list(self.shape),
            "break_even_rank": self.break_even_rank,
            "rank": None,
            "parameters": self.kept_parameters,
            "reason": self.reason,
            "kept_shape": None,
            "shares_left": None,
            "sensitivity": self.sensitivity,
        } | self.form.to_json()


def break_even_rank(in_features: int, out_features: int) -> int:
    """Largest rank r with r(in+out) < in·out: above it, two factors hold more parameters than the dense weight."""
    return (in_features * out_features - 1) // (in_features + out_features)


def is_count(value: object) -> bool:
    """Whether ``value``, read from JSON, is an integer from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
