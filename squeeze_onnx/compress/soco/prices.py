"""The map of prices: at which price of a parameter each component of the model closes.

As in ACIP (Genzel et al. 2025, arXiv 2502.01717) the order in which components close under rising pressure is their score, for
all weights at once; here the score is the price itself, so that it can be spent by a global budget.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.spectral.rmt.spectrum import Spectrum

OPEN = 0.5
"""The scale up to which a component counts as closed."""

NEAREST = 0.02
"""How near to 1 a scale is told from 1: under pressure a component that matters more stays nearer."""

_TINY = 1e-30


class PriceMap:
    """The price at which each component closed last, kept up to date step by step; scales count as open from `OPEN`."""

    def __init__(self, components: int) -> None:
        self._closed_at = np.full(components, np.inf)

    def see(self, scales: np.ndarray, price: float) -> None:
        """Take in the ``scales`` (components,) after a step at ``price``."""
        is_open = scales > OPEN
        self._closed_at[~is_open & np.isinf(self._closed_at)] = price
        self._closed_at[is_open] = np.inf

    def prices(self, scales: np.ndarray, price: float) -> np.ndarray:
        """Return the price of each component, given the ``scales`` that ``price`` holds in balance.

        In balance price · c = h (1 − S), with h the curvature of the loss: that says at which price a component that is open at S
        would close. Closed ones have the price at which they closed, in proportion, so that the highest is no more than
        ``price``, and less the farther they are gone: what is open is always worth more than what is closed.
        """
        opened = price * (1 - OPEN) / np.maximum(1 - scales, NEAREST)
        is_closed = scales <= OPEN
        highest = float(np.max(self._closed_at, where=is_closed, initial=price))
        closed = np.where(is_closed, self._closed_at, 0) * (price / highest) * (OPEN + np.minimum(scales, OPEN))
        found: np.ndarray = np.where(is_closed, closed, opened)
        return found


def untrained_output_errors(candidates: Sequence[Candidate]) -> dict[str, np.ndarray]:
    """Return what an untrained S says of each component, by site: its share of the site's energy, times the sensitivity."""
    return {each.name: each.sensitivity * _shares(each.spectrum.singular_values**2) for each in candidates}


def as_seen_by_output_error(candidate: Candidate, output_errors: np.ndarray) -> Candidate:
    """Return ``candidate`` with the ``output_errors`` of its components, in any order, in the place of its spectrum.

    An allocator that minimises the summed error then minimises the output error; `by_output_error` says which components a rank
    means.
    """
    spectrum = Spectrum(np.sqrt(output_errors[by_output_error(output_errors)]), candidate.spectrum.shape, "learned")
    return replace(candidate, spectrum=spectrum, edge=0.0, extra_rank=0, sensitivity=float(output_errors.sum()))


def by_output_error(output_errors: np.ndarray) -> np.ndarray:
    """Return the indices of the components, the most valuable first."""
    return np.argsort(-output_errors, kind="stable")


def _shares(energy: np.ndarray) -> np.ndarray:
    """Return the parts of the sum, none of them 0: a component without energy is still the last one, not none."""
    shares: np.ndarray = np.maximum(energy / max(float(energy.sum()), _TINY), _TINY)
    return shares
