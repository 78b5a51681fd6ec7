"""A weight that stays as it is, or, where the plan says so, is regressed at its size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.planned_site import Form, PlannedSite


@dataclass(frozen=True)
class Dense(Form):
    """One matrix, of the shape that it had."""

    treatment: ClassVar[str] = "dense"

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self:
        """Take every entry: the other forms were asked before."""
        return cls()

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return what the weight costs."""
        return site.dense_cost(cost)
