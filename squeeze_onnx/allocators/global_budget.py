"""Global budget: one price per parameter for the whole model, dense where factors do not pay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.allocators.base import Allocator, Alternative, Candidate, Choice, parameter_budget
from squeeze_onnx.allocators.covers import Cover, Curve, cheapest_curves, covers_of
from squeeze_onnx.errors import OptionError
from squeeze_onnx.selectors import RankChoice

BISECTIONS = 100


@dataclass(frozen=True)
class GlobalBudget(Allocator):
    """Minimise the summed error of all sites under one parameter budget.

    Site i at rank r loses ``sensitivity``·Σ_{k>r} s_k²/Σ s_k²: its squared error relative to its own output, times how much that
    matters to the model's output. Sites of one of ``alternatives`` may lose columns or share a left factor instead, where that
    is cheaper than lower ranks at all of them; of alternatives that overlap, the cheapest cover of their sites counts. The
    Lagrangian splits the problem by covers (Everett 1963); its price is found by bisection. Where a cover changes at that price
    there is a jump, so both sides of it are tried, each at the price that it can pay; what a bisection leaves unspent goes to
    the best increments that still fit. Ranks are multiples of ``rank_multiple``; no site falls under its ``floor``.
    """

    keep: float
    alternatives: tuple[Alternative, ...] = ()
    rank_multiple: int = 1

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, Choice]:
        """Return the choices of least total error that ``keep`` of all parameters can pay for.

        Raises OptionError if the floors and rank multiples cost more than that.
        """
        by_name = {candidate.name: candidate for candidate in candidates}
        together = (self._by_size(each, [by_name[site] for site in each.sites]) for each in self.alternatives)
        curves = [*map(self._by_rank, candidates), *(curve for curve in together if curve.parameters.size)]
        covers = covers_of(curves)
        budget = parameter_budget(candidates, self.keep)
        tried = [_allocate(cheapest_curves(covers, price), budget) for price in _bracket(covers, budget)]
        best = min(tried, key=lambda allocation: (max(allocation.parameters, budget), allocation.error))
        _check_affordable(best.parameters, candidates, self.keep)
        made = (curve.choices(index) for curve, index in zip(best.curves, best.chosen, strict=True))
        return {site: choice for choices in made for site, choice in choices.items()}

    def _by_rank(self, candidate: Candidate) -> Curve:
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
            if candidate.floor * candidate.dense_parameters <= candidate.parameters(rank) < candidate.dense_parameters
        ]
        ranks = [*factored, len(energy)]
        parameters = np.array([*(candidate.parameters(rank) for rank in factored), candidate.dense_parameters])

        def choices(index: int) -> Mapping[str, Choice]:
            reason = self._reason(parameters[index] / candidate.dense_parameters)
            return {candidate.name: RankChoice.leading(candidate.spectrum, int(ranks[index]), "global_budget", reason)}

        return Curve((candidate.name,), parameters, candidate.sensitivity * np.append(lost[factored], 0.0), choices)

    def _by_size(self, alternative: Alternative, candidates: Sequence[Candidate]) -> Curve:
        """Return the curve of ``alternative`` for its ``candidates``, of which the most demanding sets the floor."""
        dense = sum(candidate.dense_parameters for candidate in candidates)
        allowed = alternative.parameters >= max(candidate.floor for candidate in candidates) * dense
        if alternative.sizes_are_ranks:
            allowed &= alternative.sizes % self.rank_multiple == 0
        sizes, parameters, damage = (
            array[allowed][::-1] for array in (alternative.sizes, alternative.parameters, alternative.damage)
        )

        def choices(index: int) -> Mapping[str, Choice]:
            return alternative.choices(int(sizes[index]), self._reason(parameters[index] / dense))

        return Curve(alternative.sites, parameters, damage, choices)

    def _reason(self, share: float) -> str:
        return f"{share:.4g} of its parameters, as its share of {self.keep:.4g} of all"


@dataclass(frozen=True)
class _Allocation:
    """Curves, and the index of what is chosen on each."""

    curves: Sequence[Curve]
    chosen: Sequence[int]

    @property
    def parameters(self) -> int:
        """What it costs."""
        return sum(int(curve.parameters[index]) for curve, index in zip(self.curves, self.chosen, strict=True))

    @property
    def error(self) -> float:
        """What it loses."""
        return sum(float(curve.error[index]) for curve, index in zip(self.curves, self.chosen, strict=True))


def _bracket(covers: Sequence[Sequence[Cover]], budget: int) -> tuple[float, float]:
    """Return the highest price at which the cheapest of ``covers`` cost more than ``budget``, and the lowest at which not."""
    errors = {curve: float(np.max(curve.error)) for ways in covers for cover in ways for curve in cover}
    low, high = 0.0, sum(errors.values()) + 1.0
    for _ in range(BISECTIONS):
        price = (low + high) / 2
        spent = sum(int(curve.parameters[curve.cheapest(price)]) for curve in cheapest_curves(covers, price))
        low, high = (price, high) if spent > budget else (low, price)
    return low, high


def _allocate(curves: Sequence[Curve], budget: int) -> _Allocation:
    """Spend ``budget`` on ``curves``; what costs the least is chosen if that is too little."""
    _, price = _bracket([[(curve,)] for curve in curves], budget)
    chosen = [curve.cheapest(price) for curve in curves]
    _spend_the_rest(curves, chosen, budget)
    return _Allocation(curves, chosen)


def _check_affordable(spent: int, candidates: Sequence[Candidate], keep: float) -> None:
    """Raise OptionError if the least that can be ``spent`` is more than ``keep`` of all."""
    if spent > parameter_budget(candidates, keep):
        least = spent / sum(candidate.dense_parameters for candidate in candidates)
        raise OptionError(
            f"--keep {keep} is too little: with the floors asked for, the eligible weights keep at least {least:.4f} of their "
            "parameters; give more to --keep or less to --floor"
        )


def _spend_the_rest(curves: Sequence[Curve], chosen: list[int], budget: int) -> None:
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
