"""Covers: all ways to decide for every site once, where what can be decided for some sites at once overlaps.

Query and key may lose dimensions of their heads together, or share a left factor, alone or with value, which may lose dimensions
with the attention output. Each of these, and each site alone, has a curve; curves that decide for each site exactly once are a
cover. Sites that no curve connects do not know of each other, so covers are listed for one small set of sites at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.base import Choice


@dataclass(frozen=True, eq=False)
class Curve:
    """What each choice costs and loses at the ``sites`` that it decides for: the dearer, the less it loses."""

    sites: tuple[str, ...]
    costs: np.ndarray
    error: np.ndarray
    choices: Callable[[int], Mapping[str, Choice]]
    """What the choice of this index is for each site."""

    def cheapest(self, price: float) -> int:
        """Index of the choice with the least error + price · cost; the cheaper one of equals."""
        return int(np.argmin(self.error + price * self.costs))


Cover = tuple[Curve, ...]


def covers_of(curves: Sequence[Curve]) -> tuple[tuple[Cover, ...], ...]:
    """Return, for each set of sites that ``curves`` connect, all covers of it; those made of earlier curves come first."""
    connected: dict[str, tuple[str, ...]] = {}
    for curve in curves:
        sites = tuple(dict.fromkeys(site for near in curve.sites for site in (near, *connected.get(near, ()))))
        connected |= dict.fromkeys(sites, sites)
    return tuple(tuple(_covers(sites, curves)) for sites in dict.fromkeys(connected.values()))


class SideBySide:
    """All curves of ``covers`` in one array each of costs and errors, so that a price is put to all of them at once."""

    def __init__(self, covers: Sequence[Sequence[Cover]]) -> None:
        self._curves = list(dict.fromkeys(curve for ways in covers for cover in ways for curve in cover))
        place = {curve: index for index, curve in enumerate(self._curves)}
        self._ways = [[tuple(place[curve] for curve in cover) for cover in ways] for ways in covers]
        self._lengths = np.array([len(curve.costs) for curve in self._curves], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._costs = np.concatenate([np.zeros(0), *(curve.costs for curve in self._curves)])
        self._errors = np.concatenate([np.zeros(0), *(curve.error for curve in self._curves)])

    @property
    def highest_price(self) -> float:
        """A price at which every curve is at its cheapest choice, in whatever costs are counted."""
        cheapest = min((float(curve.costs[0]) for curve in self._curves), default=1.0)
        return (sum(float(np.max(curve.error)) for curve in self._curves) + 1.0) / min(cheapest, 1.0)

    def cheapest(self, price: float) -> list[Curve]:
        """Return the curves of those covers, one of each set of sites, with the least error + price · cost."""
        least, _ = self._at(price)
        return [self._curves[index] for index in self._chosen(least)]

    def spent(self, price: float) -> float:
        """Return what the cheapest choices on the cheapest covers cost; the cheaper one of equals."""
        least, costs = self._at(price)
        return sum(costs[index] for index in self._chosen(least))

    def _chosen(self, least: Sequence[float]) -> Iterator[int]:
        for ways in self._ways:
            yield from min(ways, key=lambda cover: sum(least[index] for index in cover))

    def _at(self, price: float) -> tuple[list[float], list[float]]:
        """Return for each curve the least error + price · cost, and what that choice costs."""
        if not self._curves:
            return [], []
        totals = self._errors + price * self._costs
        least = np.minimum.reduceat(totals, self._starts)
        reached = np.flatnonzero(totals == np.repeat(least, self._lengths))
        first = reached[np.searchsorted(reached, self._starts)]
        return least.tolist(), self._costs[first].tolist()


def _covers(sites: Sequence[str], curves: Sequence[Curve]) -> Iterator[Cover]:
    if not sites:
        yield ()
        return
    fitting = [curve for curve in curves if set(curve.sites) <= set(sites)]
    for curve in fitting:
        if sites[0] in curve.sites:
            for others in _covers([site for site in sites if site not in curve.sites], fitting):
                yield (curve, *others)
