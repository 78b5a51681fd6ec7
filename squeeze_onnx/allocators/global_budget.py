"""Global budget: one price per parameter for the whole model, dense where factors do not pay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.allocators.base import Allocator, Candidate, parameter_budget
from squeeze_onnx.selectors import RankChoice

BISECTIONS = 100


@dataclass(frozen=True)
class _Curve:
    """What each choice at one site costs and loses; the last entry is the dense weight, which loses nothing."""

    candidate: Candidate
    ranks: np.ndarray
    parameters: np.ndarray
    error: np.ndarray

    def cheapest(self, price: float) -> int:
        """Index of the choice with the least error + price · parameters; the cheaper one of equals."""
        return int(np.argmin(self.error + price * self.parameters))


@dataclass(frozen=True)
class GlobalBudget(Allocator):
    """Minimise the summed error of all sites under one parameter budget.

    Site i at rank r loses ``sensitivity``·Σ_{k>r} s_k²/Σ s_k²: its squared error relative to its own output, times how much that
    matters to the model's output. The Lagrangian splits the problem by site (Everett 1963); its price is found by
    bisection, and what the bisection leaves unspent goes to the best increments that still fit. Ranks are multiples of
    ``rank_multiple``; no site falls under ``floor`` of its parameters.
    """

    keep: float
    rank_multiple: int = 1
    floor: float = 0.0

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        """Return the ranks of least total error that ``keep`` of all parameters can pay for."""
        curves = [self._curve(candidate) for candidate in candidates]
        budget = parameter_budget(candidates, self.keep)
        low, high = 0.0, max(float(np.max(curve.error)) for curve in curves) + 1.0
        for _ in range(BISECTIONS):
            price = (low + high) / 2
            spent = sum(curve.parameters[curve.cheapest(price)] for curve in curves)
            low, high = (price, high) if spent > budget else (low, price)
        chosen = [curve.cheapest(high) for curve in curves]
        _spend_the_rest(curves, chosen, budget)
        return {curve.candidate.name: self._choice(curve, index) for curve, index in zip(curves, chosen, strict=True)}

    def _curve(self, candidate: Candidate) -> _Curve:
        energy = np.square(candidate.spectrum.singular_values)
        total = float(energy.sum())
        lost = (
            np.concatenate([[total], total - np.cumsum(energy)]).clip(min=0.0) / total
            if total > 0
            else np.zeros(len(energy) + 1)
        )
        step = self.rank_multiple
        factored = [
            rank
            for rank in range(max(step - candidate.extra_rank, 1 - candidate.extra_rank), len(energy), step)
            if self.floor * candidate.dense_parameters <= candidate.parameters(rank) < candidate.dense_parameters
        ]
        ranks = np.array([*factored, len(energy)])
        return _Curve(
            candidate,
            ranks,
            np.array([*(candidate.parameters(rank) for rank in factored), candidate.dense_parameters]),
            candidate.sensitivity * np.append(lost[factored], 0.0),
        )

    def _choice(self, curve: _Curve, index: int) -> RankChoice:
        share = curve.parameters[index] / curve.candidate.dense_parameters
        reason = f"{share:.4g} of its parameters, as its share of {self.keep:.4g} of all"
        return RankChoice.leading(curve.candidate.spectrum, int(curve.ranks[index]), "global_budget", reason)


def _spend_the_rest(curves: Sequence[_Curve], chosen: list[int], budget: int) -> None:
    """Raise the choices in ``chosen`` by the best error per parameter while something still fits."""
    left = budget - sum(int(curve.parameters[index]) for curve, index in zip(curves, chosen, strict=True))
    while True:
        best, best_gain = None, 0.0
        for site, (curve, index) in enumerate(zip(curves, chosen, strict=True)):
            extra = curve.parameters[index + 1 :] - curve.parameters[index]
            affordable = int(np.searchsorted(extra, left, side="right"))
            if affordable:
                gains = (curve.error[index] - curve.error[index + 1 :][:affordable]) / np.maximum(extra[:affordable], 1)
                step = int(np.argmax(gains))
                if gains[step] > best_gain:
                    best, best_gain = (site, index + 1 + step), float(gains[step])
        if best is None:
            return
        site, index = best
        left -= int(curves[site].parameters[index] - curves[site].parameters[chosen[site]])
        chosen[site] = index
