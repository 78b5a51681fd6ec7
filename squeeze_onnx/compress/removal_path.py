"""In which order sublayers can go, and what the model loses on the way: measured with those before already gone.

What two sublayers do together is not the sum of what each does alone, so each step is probed anew: the model runs on a few tokens
with the means of what is gone in its place. A sublayer that is worth less than another one seldom gets worth more than that once
a third is gone, so only the best one is probed again until it stays the best (lazy evaluation: Minoux 1978).
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from squeeze_onnx.compress.allocators import Candidate, Objective, RemovableSublayer
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.limits import with_limits
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.removal import mean_added
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.evaluate.output_error import OutputErrorMeter, probe_batches
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.match.sublayers import Sublayer, find_sublayers
from squeeze_onnx.graph.rewrite.switches import open_to_removal
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.support.errors import OptionError

FEWEST = 2
"""Sublayers, of which one stays."""

MOST_DAMAGE = 1.0
"""Of the variance of the answer: a path ends where it is lost."""


def path_of(
    context: Context, method: str, spectra: Sequence[SiteSpectra], moments: Mapping[str, Moments], objective: Objective
) -> tuple[RemovableSublayer, ...]:
    """Return in which order the sublayers of the model can go; none if that is not asked for, or for a plan that is given.

    One with a floor under any of its weights stays, and one always does. Raises OptionError if ``method`` does not weigh what
    else could be cut, or if no sublayer can go.
    """
    if context.plan is not None or not context.config.remove_sublayers:
        return ()
    if not METHODS[method].probes:
        raise OptionError(
            f"`remove_sublayers` weighs what goes against what else could, and `method` {method} does not: give `calibration` "
            "text and whiten or fisher, or leave it out"
        )
    candidates = {measured.site.name: measured.candidate for measured in with_limits(spectra, context.config)}
    free = [name for name, candidate in candidates.items() if candidate.floor == 0]
    model = context.dense.ir.clone()
    sublayers = find_sublayers(find_sites(model).sites, free)
    if len(sublayers) < FEWEST:
        raise OptionError(
            f"`remove_sublayers` has nothing to take out of {context.dense.path}: fewer than {FEWEST} attentions and "
            "feed-forward blocks of it are added to a residual stream, can be told apart and have no floor; leave it out"
        )
    constants = {each.name: mean_added(each, moments[each.name]) for each in sublayers}
    switches = open_to_removal(model, sublayers, constants)
    still = {name: np.array(False) for name in switches.values()}
    meter = OutputErrorMeter(
        open_graph(model, context.config.provider), probe_batches(context.weighed), still, context.known_head
    )

    def damage(gone: Collection[str]) -> float:
        return meter.output_error({switches[name]: np.array(True) for name in gone})

    saved = {each.name: saved_by(each, candidates, objective) for each in sublayers}
    steps = order_of_removal(saved, damage)
    sites = {each.name: tuple(site.name for site in each.sites) for each in sublayers}
    return tuple(RemovableSublayer(sites[name], error) for name, error in steps)


def saved_by(sublayer: Sublayer, candidates: Mapping[str, Candidate], objective: Objective) -> float:
    """Return what of ``objective`` a dense model saves without ``sublayer``."""
    weights = sum(candidates[site.name].dense_cost(objective.cost) for site in sublayer.sites)
    return weights + objective.beside_weights.get(sublayer.name, 0.0)


def order_of_removal(saved: Mapping[str, float], damage: Callable[[Collection[str]], float]) -> list[tuple[str, float]]:
    """Return names in the order in which they go, the least damage for what is ``saved`` first, with the ``damage`` up to there.

    ``damage`` is that of some names together. All but one name at most; it ends before all is lost.
    """
    gone: list[str] = []
    steps: list[tuple[str, float]] = []
    spent = 0.0
    worth = dict.fromkeys(saved, -np.inf)  # not probed yet, so the first to be
    while len(gone) < len(saved) - 1:
        fresh: dict[str, float] = {}
        while True:
            best = min(worth, key=lambda name: worth[name])
            if best in fresh:
                break
            fresh[best] = damage([*gone, best])
            worth[best] = (fresh[best] - spent) / saved[best]
        if fresh[best] >= MOST_DAMAGE:
            break
        spent = fresh[best]
        gone.append(best)
        del worth[best]
        steps.append((best, spent))
    return steps
