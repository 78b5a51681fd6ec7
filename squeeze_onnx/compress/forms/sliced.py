"""A weight that loses neurons (columns of ``ffn_in``, rows of ``ffn_out``) or dimensions of its heads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.planned_site import Form, PlannedSite, is_count
from squeeze_onnx.compress.slicing import check_slices
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class Sliced(Form):
    """One matrix of ``kept_shape``, smaller on one side; heads lose columns of query, key and value, and rows behind them.

    The sites of a block go together: `squeeze_onnx.compress.slicing` takes the columns out before weights are truncated.
    """

    kept_shape: tuple[int, int]

    treatment: ClassVar[str] = "sliced"
    keys: ClassVar[tuple[str, ...]] = ("kept_shape",)

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Take a shape within that of the weight, beside no rank."""
        kept = entry.get("kept_shape")
        if kept is None:
            return None
        if entry.get("rank") is not None or not _lies_within(kept, shape):
            raise OptionError(
                f'"kept_shape" is {kept!r}, not null or [in, out] within {list(shape)}, one of them smaller, beside '
                '"rank": null'
            )
        return cls((kept[0], kept[1]))

    def to_json(self) -> dict[str, Any]:
        """Return the shape."""
        return {"kept_shape": list(self.kept_shape)}

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return what the smaller weight costs, with the cost of the side that it keeps."""
        (rows, columns), (height, width) = site.shape, self.kept_shape
        kept = cost.into(rows, np.array([width])) if height == rows else cost.out_of(np.array([height]), columns)
        return float(kept[0])

    @classmethod
    def check(cls, sites: Sequence[MatMulSite], plan: Sequence[PlannedSite], method: str) -> None:
        """Raise OptionError unless ``plan`` takes columns out of whole blocks of ``sites``."""
        check_slices(sites, kept_shapes(plan))


def kept_shapes(plan: Sequence[PlannedSite]) -> dict[str, tuple[int, int]]:
    """Return what stays of the weights in ``plan`` that lose columns, by name."""
    return {planned.name: planned.form.kept_shape for planned in plan if isinstance(planned.form, Sliced)}


def _lies_within(kept: object, shape: tuple[int, int]) -> bool:
    if not isinstance(kept, list) or len(kept) != 2 or not all(is_count(size) for size in kept):
        return False
    dropped: list[int] = [whole - part for part, whole in zip(kept, shape, strict=True)]
    return min(dropped) == 0 < max(dropped)
