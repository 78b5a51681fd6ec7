"""Another way to spend parameters: take whole neurons out of a block of weights instead of lowering the rank of each."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SliceChoice:
    """The shape (in, out) that stays of a weight, and why."""

    shape: tuple[int, int]
    reason: str


@dataclass(frozen=True)
class Slicing:
    """A block of sites around a layer of neurons, as an allocator sees it.

    before: the sites that make the neurons, by name, with their in_features. after: the site that reads them, with its
    out_features. sizes: some numbers of neurons that stay, descending from all of them. damage: what each does to the model's
    output, in units of ``sensitivity`` · relative squared error.
    """

    before: tuple[tuple[str, int], ...]
    after: tuple[str, int]
    sizes: np.ndarray
    damage: np.ndarray

    @property
    def sites(self) -> tuple[str, ...]:
        """The names of all sites of the block."""
        return (*(name for name, _ in self.before), self.after[0])

    @property
    def parameters(self) -> np.ndarray:
        """Parameters of the whole block at each size."""
        per_neuron = sum(size for _, size in self.before) + self.after[1]
        parameters: np.ndarray = self.sizes * per_neuron
        return parameters

    def choices(self, neurons: int, reason: str) -> dict[str, SliceChoice]:
        """What it means for each site that so many ``neurons`` stay."""
        made = {name: SliceChoice((size, neurons), reason) for name, size in self.before}
        return made | {self.after[0]: SliceChoice((neurons, self.after[1]), reason)}
