"""Another way to spend parameters: one left factor for several weights that read the same value."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.objective import Cost


@dataclass(frozen=True)
class ShareChoice:
    """The rank of one left factor, the first of the sites that share it, and why."""

    rank: int
    first: str
    reason: str


@dataclass(frozen=True)
class Sharing:
    """Sites that read the same value of ``in_features``, as an allocator sees them: side by side, they are one weight.

    after: the sites by name, with their out_features. output error: what the ranks in ``sizes`` do to the model's output, in
    units of ``sensitivity`` · relative squared error.
    """

    in_features: int
    after: tuple[tuple[str, int], ...]
    output_error: np.ndarray
    sizes_are_ranks = True

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of all sites."""
        return tuple(name for name, _ in self.after)

    @property
    def sizes(self) -> np.ndarray:
        """The ranks that pay, descending to 1."""
        return np.arange(len(self.output_error), 0, -1)

    def costs(self, cost: Cost) -> np.ndarray:
        """What the left and all right factors cost at each rank; r(in + Σ out) parameters."""
        right = sum(cost.out_of(self.sizes, columns) for _, columns in self.after)
        return np.asarray(cost.into(self.in_features, self.sizes) + right)

    def choices(self, size: int, reason: str) -> Mapping[str, ShareChoice]:
        """What it means for each site that the left factor has rank ``size``."""
        return {name: ShareChoice(size, self.sites[0], reason) for name in self.sites}
