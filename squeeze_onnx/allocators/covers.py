"""Covers: all ways to decide for every site once, where what can be decided for some sites at once overlaps.

Query and key may lose dimensions of their heads together, so may value and output, and query, key and value may share a left
factor. Each of these, and each site alone, has a curve; a set of curves that decides for each site exactly once is a cover. Sites
that no curve connects do not know of each other, so covers are listed for one small set of sites at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.allocators.base import Choice


@dataclass(frozen=True, eq=False)
class Curve:
    """What each choice costs and loses at the ``sites`` that it decides for, from cheap to dear."""

    sites: tuple[str, ...]
    parameters: np.ndarray
    error: np.ndarray
    choices: Callable[[int], Mapping[str, Choice]]
    """What the choice of this index is for each site."""

    def cheapest(self, price: float) -> int:
        """Index of the choice with the least error + price · parameters; the cheaper one of equals."""
        return int(np.argmin(self.error + price * self.parameters))

    def cost(self, price: float) -> float:
        """The least error + price · parameters."""
        return float(np.min(self.error + price * self.parameters))


Cover = tuple[Curve, ...]


def covers_of(curves: Sequence[Curve]) -> tuple[tuple[Cover, ...], ...]:
    """Return, for each set of sites that ``curves`` connect, all covers of it; those made of earlier curves come first."""
    connected: dict[str, tuple[str, ...]] = {}
    for curve in curves:
        sites = tuple(dict.fromkeys(site for near in curve.sites for site in (near, *connected.get(near, ()))))
        connected |= dict.fromkeys(sites, sites)
    return tuple(tuple(_covers(sites, curves)) for sites in dict.fromkeys(connected.values()))


def cheapest_cover(covers: Sequence[Cover], price: float) -> Cover:
    """Return the one of ``covers`` with the least error + price · parameters; the first of equals."""
    return min(covers, key=lambda cover: sum(curve.cost(price) for curve in cover))


def _covers(sites: Sequence[str], curves: Sequence[Curve]) -> Iterator[Cover]:
    if not sites:
        yield ()
        return
    fitting = [curve for curve in curves if set(curve.sites) <= set(sites)]
    for curve in fitting:
        if sites[0] in curve.sites:
            for others in _covers([site for site in sites if site not in curve.sites], fitting):
                yield (curve, *others)
