"""Global budget: one price for the whole model, by parameter or by time, and dense where factors do not pay."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.base import Allocator, Alternative, Candidate, Choice
from squeeze_onnx.compress.allocators.covers import Cover, Curve, covers_of
from squeeze_onnx.compress.allocators.lagrangian import Allocation, best_of, spend
from squeeze_onnx.compress.allocators.objective import PARAMETERS, Objective, ParameterCount
from squeeze_onnx.compress.allocators.removal_choice import (
    Path,
    RemovalChoice,
    beginnings,
    error_of,
    sites_of,
)
from squeeze_onnx.compress.allocators.tied_widths import parted, ways_to_tie
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.support.errors import OptionError

Covers = tuple[tuple[Cover, ...], ...]
"""For each set of sites that some choice connects, all ways to decide for every one of them once."""


class BudgetError(OptionError):
    """A budget that nothing fits in; ``least`` is the share of the objective that would do."""

    def __init__(self, least: float, sentence: str) -> None:
        super().__init__(sentence)
        self.least = least


@dataclass(frozen=True)
class Forecast:
    """What the budget ``keep`` is predicted to do: ``share`` of the objective stays, at a summed error of ``output_error``."""

    keep: float
    share: float
    output_error: float

    def to_json(self) -> dict[str, float]:
        """Return plain values for report.json."""
        return {"keep": self.keep, "share": self.share, "damage": self.output_error}


@dataclass(frozen=True)
class _Spending:
    """What is chosen for what stays once the sublayers of ``gone`` are: what all of it costs, and what it loses."""

    gone: Path
    allocation: Allocation
    cost: float
    error: float


@dataclass(frozen=True)
class GlobalBudget(Allocator):
    """Minimise the summed error of all sites under one budget of parameters, or of whatever ``objective`` counts.

    Site i at rank r loses ``sensitivity``·Σ_{k>r} s_k²/Σ s_k²: its squared error relative to its own output, times how much that
    matters to the model's output. Sites of one of ``alternatives`` may lose columns or share a left factor instead, where that
    is cheaper than lower ranks at all of them; of alternatives that overlap, the cheapest cover of their sites counts. Where
    several have to have heads of one width, each width is tried for all of them, up to ``tied_share`` of the dimensions. Whole
    sublayers may go, so many from the beginning of the path ``removable`` as lose least together with what is left for the
    others. See `lagrangian` for how the budget is spent. No site falls under its ``floor`` of parameters, or off the grid of its
    ``rank_step``.
    """

    keep: float
    alternatives: tuple[Alternative, ...] = ()
    objective: Objective = PARAMETERS
    tied_share: float | None = None
    removable: Path = ()

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, Choice]:
        """Return the choices of least total error that ``keep`` of the objective can pay for, what is fixed of it included.

        Raises OptionError if the floors and rank multiples cost more than that.
        """
        whole = self.whole(candidates)
        best = self._spent(self._all_ways(candidates), self.keep * whole)
        if best.cost > self.keep * whole:
            floored = any(candidate.floor for candidate in candidates)
            least = f"at least {best.cost / whole:.4f} of {self.objective.name} stays"
            raise BudgetError(
                best.cost / whole,
                f"`keep` {self.keep} is too little: with the floors asked for, {least}; give more to `keep` or less to `floor`"
                if floored
                else f"`keep` {self.keep} is too little: {least}, however thin the weights get; give more to `keep`",
            )
        allocation = best.allocation
        made = (curve.choices(index) for curve, index in zip(allocation.curves, allocation.chosen, strict=True))
        reason = f"removed, as its share of {self.keep:.4g} of {self.objective.name}"
        gone: dict[str, Choice] = dict.fromkeys(sites_of(best.gone), RemovalChoice(reason))
        return gone | {site: choice for choices in made for site, choice in choices.items()}

    def forecast(self, candidates: Sequence[Candidate], keeps: Sequence[float]) -> tuple[Forecast, ...]:
        """Return what each of the budgets ``keeps`` would lose, those left out that nothing fits in."""
        ways, whole = self._all_ways(candidates), self.whole(candidates)
        spent = [(keep, self._spent(ways, keep * whole)) for keep in keeps]
        return tuple(Forecast(keep, best.cost / whole, best.error) for keep, best in spent if best.cost <= keep * whole)

    def _all_ways(self, candidates: Sequence[Candidate]) -> list[tuple[Path, tuple[Covers, ...]]]:
        """Return how far one can go on the path, and all ways to decide for the candidates that are left then."""
        return [(gone, self._ways(candidates, sites_of(gone))) for gone in beginnings(self.removable)]

    def _spent(self, ways: Iterable[tuple[Path, tuple[Covers, ...]]], budget: float) -> _Spending:
        """Return the way of least error that ``budget`` of the objective can pay for; the cheapest if it can pay for none."""
        spendings = []
        for gone, each in ways:
            fixed = self.objective.fixed_without(sites_of(gone))
            best = best_of((spend(covers, budget - fixed) for covers in each), budget - fixed)
            spendings.append(_Spending(gone, best, fixed + best.cost, error_of(gone) + best.error))
        return min(spendings, key=lambda spending: (max(spending.cost, budget), spending.error))

    def _ways(self, candidates: Sequence[Candidate], gone: Collection[str]) -> tuple[Covers, ...]:
        """Return all ways to decide once for all candidates but those ``gone``, apart for each width that tied heads may have."""
        by_name = {candidate.name: candidate for candidate in candidates if candidate.name not in gone}
        left = [each for each in self.alternatives if by_name.keys() >= {*each.sites}]
        alternatives, tied = parted(left)
        alone = [*map(self._by_rank, by_name.values())]

        def curves_of(alternatives: Iterable[Alternative]) -> list[Curve]:
            return [self._by_size(each, [by_name[site] for site in each.sites]) for each in alternatives]

        together = [curve for curve in curves_of(alternatives) if curve.costs.size]
        ways: list[Covers] = []
        for forced in map(curves_of, ways_to_tie(tied, self.tied_share)):
            decided = {site for curve in forced for site in curve.sites}
            free = [curve for curve in (*alone, *together) if decided.isdisjoint(curve.sites)]
            if all(curve.costs.size for curve in forced):  # none falls under a floor
                ways.append(covers_of([*free, *forced]))
        return tuple(ways)

    def whole(self, candidates: Sequence[Candidate]) -> float:
        """Return what the dense model costs."""
        return self.objective.fixed + sum(
            candidate.dense_cost(self.objective.cost_of(is_table=candidate.is_table)) for candidate in candidates
        )

    def _by_rank(self, candidate: Candidate) -> Curve:
        energy = np.square(candidate.spectrum.singular_values)
        total = float(energy.sum())
        lost = (
            np.concatenate([[total], total - np.cumsum(energy)]).clip(min=0.0) / total
            if total > 0
            else np.zeros(len(energy) + 1)
        )
        step = math.lcm(self.objective.rank_multiple, candidate.rank_step)
        ranks = np.array(
            [
                rank
                for rank in range(step - candidate.extra_rank, len(energy), step)
                if candidate.floor * candidate.dense_parameters
                <= candidate.parameters(rank)
                < candidate.dense_parameters
            ],
            dtype=np.int64,
        )
        cost = self.objective.cost_of(is_table=candidate.is_table)

        def choice(rank: int) -> Mapping[str, Choice]:
            reason = self._reason(candidate.parameters(rank) / candidate.dense_parameters)
            return {candidate.name: RankChoice.leading(candidate.spectrum, rank, "global_budget", reason)}

        return _frontier(
            (candidate.name,),
            np.append(ranks, len(energy)),
            np.append(candidate.factored_costs(ranks, cost) + self.objective.per_pair, candidate.dense_cost(cost)),
            candidate.sensitivity * np.append(lost[ranks], 0.0),
            choice,
        )

    def _by_size(self, alternative: Alternative, candidates: Sequence[Candidate]) -> Curve:
        """Return the curve of ``alternative`` for its ``candidates``, of which the most demanding sets the floor."""
        dense = sum(candidate.dense_parameters for candidate in candidates)
        parameters = alternative.costs(ParameterCount())
        allowed = parameters >= max(candidate.floor for candidate in candidates) * dense
        costs = alternative.costs(self.objective.cost)
        if alternative.sizes_are_ranks:
            allowed &= alternative.sizes % self.objective.rank_multiple == 0
            costs = costs + self.objective.per_pair * len(alternative.sites)
        shares = dict(zip(alternative.sizes.tolist(), (parameters / dense).tolist(), strict=True))
        return _frontier(
            alternative.sites,
            alternative.sizes[allowed],
            costs[allowed],
            alternative.output_error[allowed],
            lambda size: alternative.choices(size, self._reason(shares[size])),
        )

    def _reason(self, share: float) -> str:
        return f"{share:.4g} of its parameters, as its share of {self.keep:.4g} of {self.objective.name}"


def _frontier(
    sites: tuple[str, ...],
    sizes: np.ndarray,
    costs: np.ndarray,
    errors: np.ndarray,
    choice: Callable[[int], Mapping[str, Choice]],
) -> Curve:
    """Return the curve of those ``sizes`` for which nothing cheaper loses as little."""
    order = np.lexsort((errors, costs))
    least = np.minimum.accumulate(np.append(np.inf, errors[order]))[:-1]
    best = order[errors[order] < least]
    return Curve(sites, costs[best], errors[best], lambda index: choice(int(sizes[best[index]])))
