"""Spend a budget on curves: one price for all of them splits the problem (Everett 1963, Operations Research 11, 399)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.covers import Cover, Curve, SideBySide

BISECTIONS = 100


@dataclass(frozen=True)
class Allocation:
    """Curves, and the index of what is chosen on each."""

    curves: Sequence[Curve]
    chosen: Sequence[int]

    @property
    def cost(self) -> float:
        """What it costs."""
        return _spent(self.curves, self.chosen)

    @property
    def error(self) -> float:
        """What it loses."""
        return sum(float(curve.error[index]) for curve, index in zip(self.curves, self.chosen, strict=True))


def spend(covers: Sequence[Sequence[Cover]], budget: float) -> Allocation:
    """Return the allocation of least error that ``budget`` can pay for; the cheapest there is if it can pay for none.

    The price is found by bisection. Where a cover changes at that price there is a jump, so both sides of it are tried, each
    at the price that it can pay; what a bisection leaves unspent goes to the best increments that still fit.
    """
    all_curves = SideBySide(covers)
    tried = [_allocate(all_curves.cheapest(price), budget) for price in _bracket(all_curves, budget)]
    return best_of(tried, budget)


def best_of(allocations: Iterable[Allocation], budget: float) -> Allocation:
    """Return that of least error which ``budget`` can pay for; the cheapest if it can pay for none."""
    return min(allocations, key=lambda allocation: (max(allocation.cost, budget), allocation.error))


def _bracket(curves: SideBySide, budget: float) -> tuple[float, float]:
    """Return the highest price at which the cheapest of ``curves`` cost more than ``budget``, and the lowest at which not."""
    low, high = 0.0, curves.highest_price
    for _ in range(BISECTIONS):
        price = (low + high) / 2
        bounds = (price, high) if curves.spent(price) > budget else (low, price)
        if bounds == (low, high):  # no number lies between them
            break
        low, high = bounds
    return low, high


def _allocate(curves: Sequence[Curve], budget: float) -> Allocation:
    """Spend ``budget`` on all of ``curves``."""
    _, price = _bracket(SideBySide([[(curve,)] for curve in curves]), budget)
    chosen = [curve.cheapest(price) for curve in curves]
    _spend_the_rest(curves, chosen, budget - _spent(curves, chosen))
    return Allocation(curves, chosen)


def _spent(curves: Sequence[Curve], chosen: Sequence[int]) -> float:
    return sum(float(curve.costs[index]) for curve, index in zip(curves, chosen, strict=True))


def _spend_the_rest(curves: Sequence[Curve], chosen: list[int], left: float) -> None:
    """Raise the choices in ``chosen`` by the best error per cost while something still fits in what is ``left``."""
    while True:
        best, best_gain = None, 0.0
        for site, (curve, index) in enumerate(zip(curves, chosen, strict=True)):
            extra = curve.costs[index + 1 :] - curve.costs[index]
            affordable = int(np.searchsorted(extra, left, side="right"))
            if affordable:
                gains = (curve.error[index] - curve.error[index + 1 :][:affordable]) / extra[:affordable]
                step = int(np.argmax(gains))
                if gains[step] > best_gain:
                    best, best_gain = (site, index + 1 + step), float(gains[step])
        if best is None:
            return
        site, index = best
        left -= float(curves[site].costs[index] - curves[site].costs[chosen[site]])
        chosen[site] = index
