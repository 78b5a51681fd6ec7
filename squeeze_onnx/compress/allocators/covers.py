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

    def total(self, price: float) -> float:
        """The least error + price · cost."""
        return float(np.min(self.error + price * self.costs))


Cover = tuple[Curve, ...]


def covers_of(curves: Sequence[Curve]) -> tuple[tuple[Cover, ...], ...]:
    """Return, for each set of sites that ``curves`` connect, all covers of it; those made of earlier curves come first."""
    connected: dict[str, tuple[str, ...]] = {}
    for curve in curves:
        sites = tuple(dict.fromkeys(site for near in curve.sites for site in (near, *connected.get(near, ()))))
        connected |= dict.fromkeys(sites, sites)
    return tuple(tuple(_covers(sites, curves)) for sites in dict.fromkeys(connected.values()))


def cheapest_curves(covers: Sequence[Sequence[Cover]], price: float) -> list[Curve]:
    """Return the curves of those ``covers``, one of each set of sites, with the least error + price · cost."""
    totals = {curve: curve.total(price) for ways in covers for cover in ways for curve in cover}
    cheapest = (min(ways, key=lambda cover: sum(totals[curve] for curve in cover)) for ways in covers)
    return [curve for cover in cheapest for curve in cover]


def _covers(sites: Sequence[str], curves: Sequence[Curve]) -> Iterator[Cover]:
    if not sites:
        yield ()
        return
    fitting = [curve for curve in curves if set(curve.sites) <= set(sites)]
    for curve in fitting:
        if sites[0] in curve.sites:
            for others in _covers([site for site in sites if site not in curve.sites], fitting):
                yield (curve, *others)
