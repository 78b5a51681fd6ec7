"""Global budget: one price per parameter for the whole model, dense where factors do not pay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.allocators.base import Allocator, Candidate, Choice, parameter_budget
from squeeze_onnx.allocators.slicing import Slicing
from squeeze_onnx.errors import OptionError
from squeeze_onnx.selectors import RankChoice

BISECTIONS = 100


@dataclass(frozen=True)
class _Curve:
    """What each choice costs and loses, at one site or one block, from cheap to dear; the last is dense and loses nothing."""

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


@dataclass(frozen=True)
class GlobalBudget(Allocator):
    """Minimise the summed error of all sites under one parameter budget.

    Site i at rank r loses ``sensitivity``·Σ_{k>r} s_k²/Σ s_k²: its squared error relative to its own output, times how much that
    matters to the model's output. A block of ``slicings`` may lose columns instead, where that is cheaper than lower ranks at
    all its sites. The Lagrangian splits the problem by site and block (Everett 1963); its price is found by bisection, and what
    the bisection leaves unspent goes to the best increments that still fit. Ranks are multiples of ``rank_multiple``; no site
    falls under its ``floor``.
    """

    keep: float
    slicings: tuple[Slicing, ...] = ()
    rank_multiple: int = 1

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, Choice]:
        """Return the choices of least total error that ``keep`` of all parameters can pay for.

        Raises OptionError if the floors and rank multiples cost more than that.
        """
        floors = {candidate.name: candidate.floor for candidate in candidates}
        by_rank = {candidate.name: self._by_rank(candidate) for candidate in candidates}
        by_columns = [
            (slicing.sites, self._by_columns(slicing, max(floors[site] for site in slicing.sites)))
            for slicing in self.slicings
        ]
        budget = parameter_budget(candidates, self.keep)
        low, high = 0.0, max(float(np.max(curve.error)) for curve in by_rank.values()) + 1.0
        for _ in range(BISECTIONS):
            price = (low + high) / 2
            curves = _best_curves(by_rank, by_columns, price)
            spent = sum(curve.parameters[curve.cheapest(price)] for curve in curves)
            low, high = (price, high) if spent > budget else (low, price)
        curves = _best_curves(by_rank, by_columns, high)
        chosen = [curve.cheapest(high) for curve in curves]
        _check_affordable(curves, chosen, candidates, self.keep)
        _spend_the_rest(curves, chosen, budget)
        made = (curve.choices(index) for curve, index in zip(curves, chosen, strict=True))
        return {site: choice for choices in made for site, choice in choices.items()}

    def _by_rank(self, candidate: Candidate) -> _Curve:
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

        return _Curve(parameters, candidate.sensitivity * np.append(lost[factored], 0.0), choices)

    def _by_columns(self, slicing: Slicing, floor: float) -> _Curve:
        allowed = slicing.parameters >= floor * slicing.parameters[0]
        sizes, parameters, damage = (
            array[allowed][::-1] for array in (slicing.sizes, slicing.parameters, slicing.damage)
        )

        def choices(index: int) -> Mapping[str, Choice]:
            return slicing.choices(int(sizes[index]), self._reason(parameters[index] / parameters[-1]))

        return _Curve(parameters, damage, choices)

    def _reason(self, share: float) -> str:
        return f"{share:.4g} of its parameters, as its share of {self.keep:.4g} of all"


def _best_curves(
    by_rank: Mapping[str, _Curve], by_columns: Sequence[tuple[tuple[str, ...], _Curve]], price: float
) -> list[_Curve]:
    """Return a curve for each site, or one for a whole block that does better without some columns at this ``price``."""
    sliced = [
        (sites, curve)
        for sites, curve in by_columns
        if curve.cost(price) < sum(by_rank[site].cost(price) for site in sites)
    ]
    taken = {site for sites, _ in sliced for site in sites}
    return [curve for site, curve in by_rank.items() if site not in taken] + [curve for _, curve in sliced]


def _check_affordable(
    curves: Sequence[_Curve], chosen: Sequence[int], candidates: Sequence[Candidate], keep: float
) -> None:
    """Raise OptionError if what is ``chosen`` at the highest price, the least there can be, is more than ``keep`` of all."""
    spent = sum(int(curve.parameters[index]) for curve, index in zip(curves, chosen, strict=True))
    if spent > parameter_budget(candidates, keep):
        least = spent / sum(candidate.dense_parameters for candidate in candidates)
        raise OptionError(
            f"--keep {keep} is too little: with the floors asked for, the eligible weights keep at least {least:.4f} of their "
            "parameters; give more to --keep or less to --floor"
        )


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
