"""How much of the tokens goes on behind each layer: the least damage to the answer at a given part of the multiplications.

Tokens that would go at a rate r behind layer l do the same damage whatever went before, nearly: between the rates r' before and r
behind it layer l adds D(l, r) − D(l, r'), where D is the damage of a single step. With that a path through the layers, from all
tokens down, is found by dynamic programming over the layers, the rates and what is spent so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

GRID = 16
"""Rates are multiples of 1/16: a float holds them exactly, so that the same text has the same number of tokens anywhere."""

PROBED = (1, 4, 8, 12)
"""Of `GRID`: rates at which a step is measured; in between damage is taken to be linear."""

STEP_COST = 0.01
"""What the choice of tokens itself takes, of all multiplications with weights."""

_UNITS = 4096
"""In which what is spent is counted, rounded up."""


@dataclass(frozen=True)
class LayerWork:
    """The multiplications for a token with weights of the ``layer``, up to where tokens may go and ``behind`` it."""

    layer: int
    before: int
    behind: int


def share_of(rates: Mapping[int, float], work: Sequence[LayerWork]) -> float:
    """Return the part of the multiplications of ``work``, all layers in order, that stays at ``rates``."""
    rate, done, whole = 1.0, 0.0, 0
    for layer in work:
        done += rate * layer.before
        rate = rates.get(layer.layer, rate)
        done += rate * layer.behind
        whole += layer.before + layer.behind
    return done / max(whole, 1)


def damage_curve(measured: Mapping[int, float]) -> np.ndarray:
    """Return the damage at 0/16 to 16/16 of the tokens, by that ``measured`` at some of these: the nearest that never falls."""
    known = {**measured, GRID: 0.0}
    places = sorted(known)
    falling = isotonic_regression([known[place] for place in places], increasing=False).x
    return np.asarray(np.interp(np.arange(GRID + 1), places, falling - falling[-1]), np.float64)


def possible_rates(share: float, curves: Mapping[int, np.ndarray], work: Sequence[LayerWork]) -> list[dict[int, float]]:
    """Return what `choose_rates` does where tokens go behind no layer before each of those ``curves`` are of, without repetition.

    Damage adds up nearly: these are to be measured. Only the first is there if none of them leaves so little.
    """
    found: list[dict[int, float]] = []
    for first in sorted(curves):
        rates = choose_rates(share, {layer: curve for layer, curve in curves.items() if layer >= first}, work)
        if rates not in found and (not found or share_of(rates, work) <= share):
            found.append(rates)
    return found


def choose_rates(share: float, curves: Mapping[int, np.ndarray], work: Sequence[LayerWork]) -> dict[int, float]:
    """Return the rates of least damage behind the layers of ``curves`` at which no more than ``share`` of ``work`` stays.

    Where that cannot be had, those at which the least stays. Layers whose rate is that of the one before are left out.
    """
    units = _UNITS / max(sum(layer.before + layer.behind for layer in work), 1)
    grid = np.arange(1, GRID + 1)
    damage = np.full((GRID, _UNITS + 1), np.inf)  # by rate and by what is spent so far
    damage[-1, 0] = 0.0
    came_from: list[np.ndarray] = []
    for layer in work:
        damage = _spent(damage, np.ceil(units * layer.before * grid / GRID))
        same = np.repeat(np.arange(GRID)[:, None], _UNITS + 1, axis=1)
        if layer.layer in curves:
            curve = curves[layer.layer][1:]
            stepped = _spent(damage, np.full(GRID, np.ceil(STEP_COST * _UNITS)))
            for place in range(GRID - 1):  # tokens do not come back: from any higher rate
                added = stepped[place + 1 :] + (curve[place] - curve[place + 1 :])[:, None]
                best = np.argmin(added, axis=0)
                least = added[best, np.arange(_UNITS + 1)]
                better = least < damage[place]
                damage[place, better] = least[better]
                same[place, better] = place + 1 + best[better]
        came_from.append(same)
        damage = _spent(damage, np.ceil(units * layer.behind * grid / GRID))
    affordable = np.isfinite(damage) & (np.arange(_UNITS + 1) <= share * _UNITS)
    judged = np.where(affordable, damage, np.inf)
    if not affordable.any():
        judged = np.where(np.isfinite(damage), np.arange(_UNITS + 1), np.inf)
    place, spent = divmod(int(np.argmin(judged)), _UNITS + 1)
    return _way_back(place, spent, came_from, work, units)


def _spent(damage: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return ``damage`` (rates, spent) once so many more ``units`` are spent at each rate."""
    moved = np.full_like(damage, np.inf)
    for place, step in enumerate(units.astype(np.int64)):
        moved[place, step:] = damage[place, : damage.shape[1] - step]
    return moved


def _way_back(
    place: int, spent: int, came_from: Sequence[np.ndarray], work: Sequence[LayerWork], units: float
) -> dict[int, float]:
    rates: dict[int, float] = {}
    for layer, origin in zip(reversed(work), reversed(came_from), strict=True):
        spent -= int(np.ceil(units * layer.behind * (place + 1) / GRID))
        before = int(origin[place, spent])
        if before != place:
            rates[layer.layer] = (place + 1) / GRID
            spent -= int(np.ceil(STEP_COST * _UNITS))
            place = before
        spent -= int(np.ceil(units * layer.before * (place + 1) / GRID))
    return dict(sorted(rates.items()))
