"""Another way to spend parameters: take whole columns out of a block of weights instead of lowering the rank of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from squeeze_onnx.compress.allocators.objective import Cost

Count = TypeVar("Count", int, np.ndarray)


@dataclass(frozen=True)
class SliceChoice:
    """The shape (in, out) that stays of a weight, and why."""

    shape: tuple[int, int]
    reason: str


@dataclass(frozen=True)
class Slicing:
    """A block of sites around columns of which some can go, as an allocator sees it.

    before: the sites that have them as columns, by name, with their in_features. after: those that have them as rows, with their
    out_features. sizes: some numbers of columns that stay, descending from all of them. output error: what each does to the
    model's output, in units of ``sensitivity`` · relative squared error. columns_each: how many columns or rows of a site go with
    one, by name, where that is not one: two where a gate is packed with what it opens, or where two heads read one. tied_heads:
    of how many heads the columns are, where these have to be as wide as those of all other blocks that say so; 0 where they may
    have a width of their own.
    """

    before: tuple[tuple[str, int], ...]
    after: tuple[tuple[str, int], ...]
    sizes: np.ndarray
    output_error: np.ndarray
    columns_each: Mapping[str, int] = field(default_factory=dict)
    tied_heads: int = 0
    sizes_are_ranks = False

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of all sites of the block."""
        return tuple(name for name, _ in (*self.before, *self.after))

    @property
    def widths(self) -> np.ndarray:
        """The widths of its heads, if these are tied."""
        return np.asarray(self.sizes // self.tied_heads)

    def at(self, width: int) -> "Slicing":
        """Return the block with heads of this ``width`` and no other choice."""
        chosen = self.widths == width
        return replace(self, sizes=self.sizes[chosen], output_error=self.output_error[chosen])

    def costs(self, cost: Cost) -> np.ndarray:
        """What the whole block costs at each size."""
        before = sum(cost.into(rows, self._of(name, self.sizes)) for name, rows in self.before)
        return np.asarray(
            before + sum(cost.out_of(self._of(name, self.sizes), columns) for name, columns in self.after)
        )

    def choices(self, columns: int, reason: str) -> dict[str, SliceChoice]:
        """What it means for each site that so many ``columns`` stay."""
        made = {name: SliceChoice((size, self._of(name, columns)), reason) for name, size in self.before}
        return made | {name: SliceChoice((self._of(name, columns), size), reason) for name, size in self.after}

    def _of(self, name: str, columns: Count) -> Count:
        return columns * self.columns_each.get(name, 1)
