"""S of the whole model: one vector that learns, what its entries cost and are worth, and what a budget makes of them."""

from collections.abc import Sequence

import numpy as np

from squeeze_onnx.compress.allocators import Allocator, Candidate
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.compress.soco.prices import (
    OPEN,
    PriceMap,
    as_seen_by_output_error,
    by_output_error,
    untrained_output_errors,
)

PRICE_MEMORY = 0.1
"""How much of the price that scales are in balance with is that of the last step."""


class Scales:
    """The scales of all components of all sites, ``values`` (components,), which an optimizer changes in place.

    Until `decide`, all of them are under pressure and their prices are watched; afterwards only those that are to be pruned are.
    """

    def __init__(self, values: np.ndarray, candidates: Sequence[Candidate]) -> None:
        self.values = values
        self.output_errors = untrained_output_errors(candidates)
        self.decided = False
        self.dense: frozenset[str] = frozenset()
        counts = [each.spectrum.smaller_dimension for each in candidates]
        ends = np.cumsum(counts).tolist()
        self.within = {each.name: slice(end - n, end) for each, end, n in zip(candidates, ends, counts, strict=True)}
        self.pruned = np.zeros(ends[-1], bool)
        self._gone = np.zeros(ends[-1], bool)
        self._candidates = tuple(candidates)
        self._total = sum(each.dense_parameters for each in candidates)
        self._costs = np.repeat([sum(each.spectrum.shape) / self._total for each in candidates], counts)
        self._prices = PriceMap(ends[-1])
        self._price = 0.0

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The sites as an allocator is to see them."""
        return tuple(as_seen_by_output_error(each, self.output_errors[each.name]) for each in self._candidates)

    @property
    def size(self) -> float:
        """The share of the parameters that open components take, a site's dense weight at most."""
        is_open = ~self.pruned | (self.values > 0) if self.decided else self.values > OPEN
        ranks = {name: int(np.count_nonzero(is_open[within])) for name, within in self.within.items()}
        return sum(each.parameters(ranks[each.name]) for each in self._candidates) / self._total

    @property
    def pending(self) -> int:
        """How many components are to be pruned but not yet at zero."""
        return int(np.count_nonzero(self.pruned & (self.values > 0)))

    def press(self, gradient: np.ndarray, price: float) -> None:
        """Add to ``gradient`` that of the ratio, price · Σ c min(S, 1), or after `decide` that of sparsity, price · Σ c S."""
        pressed = self.pruned if self.decided else self.values <= 1
        gradient[pressed] += (price * self._costs[pressed]).astype(gradient.dtype)

    def settle(self, price: float) -> None:
        """After a step at ``price``: none is under 0, what has gone stays, dense sites are as they were; prices are noted."""
        np.maximum(self.values, 0, out=self.values)
        if not self.decided:
            self._price += (price - self._price) * PRICE_MEMORY
            self._prices.see(self.values, self._price)
            return
        self._gone |= self.pruned & (self.values == 0)
        self.values[self._gone] = 0
        self._restore_dense()

    def weigh(self) -> None:
        """Let the prices so far say what components are worth."""
        output_errors = self._prices.prices(self.values.astype(np.float64), self._price) * self._costs
        self.output_errors = {name: output_errors[within] for name, within in self.within.items()}

    def decide(self, allocator: Allocator) -> None:
        """Prune the components that ``allocator`` does not keep."""
        choices = allocator.allocate(self.candidates)
        dense = set()
        for each in self._candidates:
            choice = choices[each.name]
            assert isinstance(choice, RankChoice), "nothing was offered but ranks"
            rank = max(choice.rank, 1)
            if rank == each.spectrum.smaller_dimension:
                dense.add(each.name)
            self.pruned[self.within[each.name]][by_output_error(self.output_errors[each.name])[rank:]] = True
        self.dense, self.decided = frozenset(dense), True
        self._restore_dense()

    def _restore_dense(self) -> None:
        for name in self.dense:
            self.values[self.within[name]] = 1
