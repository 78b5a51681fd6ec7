"""Global budget: one price for the whole model, by parameter or by time, and dense where factors do not pay."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.allocators.base import Allocator, Alternative, Candidate, Choice
from squeeze_onnx.compress.allocators.covers import Cover, Curve, covers_of
from squeeze_onnx.compress.allocators.lagrangian import spend
from squeeze_onnx.compress.allocators.objective import PARAMETERS, Objective, ParameterCount
from squeeze_onnx.compress.selectors import RankChoice
from squeeze_onnx.support.errors import OptionError


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
class GlobalBudget(Allocator):
    """Minimise the summed error of all sites under one budget of parameters, or of whatever ``objective`` counts.

    Site i at rank r loses ``sensitivity``·Σ_{k>r} s_k²/Σ s_k²: its squared error relative to its own output, times how much that
    matters to the model's output. Sites of one of ``alternatives`` may lose columns or share a left factor instead, where that
    is cheaper than lower ranks at all of them; of alternatives that overlap, the cheapest cover of their sites counts. See
    `lagrangian` for how the budget is spent. No site falls under its ``floor`` of parameters, or off the grid of its
    ``rank_step``.
    """

    keep: float
    alternatives: tuple[Alternative, ...] = ()
    objective: Objective = PARAMETERS

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, Choice]:
        """Return the choices of least total error that ``keep`` of the objective can pay for, what is fixed of it included.

        Raises OptionError if the floors and rank multiples cost more than that.
        """
        covers, whole = self._covers(candidates), self.whole(candidates)
        fixed = self.objective.fixed
        budget = self.keep * whole - fixed
        best = spend(covers, budget)
        if best.cost > budget:
            raise BudgetError(
                (fixed + best.cost) / whole,
                f"`keep` {self.keep} is too little: with the floors asked for, at least {(fixed + best.cost) / whole:.4f} of "
                f"{self.objective.name} stays; give more to `keep` or less to `floor`",
            )
        made = (curve.choices(index) for curve, index in zip(best.curves, best.chosen, strict=True))
        return {site: choice for choices in made for site, choice in choices.items()}

    def forecast(self, candidates: Sequence[Candidate], keeps: Sequence[float]) -> tuple[Forecast, ...]:
        """Return what each of the budgets ``keeps`` would lose, those left out that nothing fits in."""
        covers, whole = self._covers(candidates), self.whole(candidates)
        fixed = self.objective.fixed
        allocations = [(keep, spend(covers, keep * whole - fixed)) for keep in keeps]
        return tuple(
            Forecast(keep, (fixed + best.cost) / whole, best.error)
            for keep, best in allocations
            if fixed + best.cost <= keep * whole
        )

    def _covers(self, candidates: Sequence[Candidate]) -> tuple[tuple[Cover, ...], ...]:
        """Return all ways to decide for every candidate once."""
        by_name = {candidate.name: candidate for candidate in candidates}
        together = (self._by_size(each, [by_name[site] for site in each.sites]) for each in self.alternatives)
        return covers_of([*map(self._by_rank, candidates), *(curve for curve in together if curve.costs.size)])

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
