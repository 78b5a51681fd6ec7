"""How much text the choice of ranks needs: as much as makes a cut on it hardly worse on other text, and no more.

A few texts are read in two halves, and the weights of one layer are cut on each half: by how much more they lose on the other
one falls as one over the tokens that were read, so one such measurement says how many are enough.
"""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np

from squeeze_onnx.compress.held_back import rows_of
from squeeze_onnx.compress.text_amounts import Amount
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch, hear_moments, session_showing, values_met
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.sampling_error import excess_error

EXCESS = 0.08
"""By how much more a weight of which half is left may lose on other text than on what was read.

MiniLM-L6 on MRPC, rows read and the mean change of class probabilities on 512 others at keep 0.5 and 0.33: 128: 0.040, 0.077;
256: 0.042, 0.068; 512: 0.039, 0.065; 1,024: 0.039, 0.063 (python -m tools.choose_rows --model minilm-l6-MRPC --rows 128 --rows
256 --rows 512 --rows 1024 --keep 0.5 --keep 0.33, not distilled). The rule takes 374. Ranks themselves never stand still: between
512 and 1,024 rows a quarter of them and more differs, at the same loss.
"""

PILOT = 4
"""Tokens of each half for each input of the weights that are cut: no fewer, or the half has no full rank."""

FEWEST_ROWS = 64
"""Texts that are read in any case."""

WIDEST = 4
"""Tokens for each input of the widest weight that are read in any case."""

ENOUGH_TO_DIFFERENTIATE = 128
"""Texts of which gradients are taken in any case: an answer is drawn for each.

On half of the text the class probabilities of 512 others change by −6 to +7 % more at keep 0.5 and −3 to +1 % at 0.33 (MiniLM-L6;
374 and 512 rows of MRPC, 1,024 of CoLA), where a repeat with other draws changes them by 15 %.
"""


def text_needed(
    model: OnnxModel,
    sites: Sequence[MatMulSite],
    read: Callable[[Amount], Sequence[CalibrationBatch]],
    most: Amount,
    provider: str,
) -> Amount:
    """Return how much of ``most`` text to estimate on; ``read`` makes batches of so much of it.

    All of ``most`` where that cannot be told: too little text for two halves, or weights that nothing is lost of.
    """
    cut = _of_the_middle_layer(sites)
    if not cut:
        return most
    pilot = read(Amount(most.rows, 2 * PILOT * cut[0].in_features))
    halves = pilot[0::2], pilot[1::2]
    if not halves[1]:
        return most
    needed = _tokens_needed(model, cut, halves, provider)
    if not np.isfinite(needed):
        return most
    widest = max(site.in_features for site in sites if not _is_lookup(site))
    return Amount(most.rows, max(ceil(needed), WIDEST * widest), FEWEST_ROWS)


def part_of(batches: Sequence[CalibrationBatch], tokens: int) -> Sequence[CalibrationBatch] | None:
    """Return so many ``tokens`` of ``batches``, evenly spread since they are sorted by length; None if that is all of them."""
    stride = max(sum(map(_tokens, batches)) // max(tokens, 1), 1)
    return None if stride == 1 else batches[stride // 2 :: stride]


def half_of(batches: Sequence[CalibrationBatch]) -> Sequence[CalibrationBatch]:
    """Return every other one of ``batches``, or all if these are fewer than `ENOUGH_TO_DIFFERENTIATE` texts."""
    half = batches[1::2]
    return half if rows_of(half) >= ENOUGH_TO_DIFFERENTIATE else batches


def _tokens(batch: CalibrationBatch) -> int:
    return batch.positions if batch.mask is None else int(batch.mask.sum())


def _of_the_middle_layer(sites: Sequence[MatMulSite]) -> list[MatMulSite]:
    """Return the weights of a layer that read the fewest features: their moments cost least, and say as much."""
    products = [site for site in sites if not _is_lookup(site)]
    layers = sorted({site.layer for site in products if site.layer is not None})
    middle = layers[len(layers) // 2] if layers else None
    group = [site for site in products if site.layer == middle]
    least = min((site.in_features for site in group), default=0)
    return [site for site in group if site.in_features == least]


def _is_lookup(site: MatMulSite) -> bool:
    return WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup


def _tokens_needed(
    model: OnnxModel, sites: Sequence[MatMulSite], halves: Sequence[Sequence[CalibrationBatch]], provider: str
) -> float:
    """Return the tokens at which the excess is `EXCESS`, the mean over ``sites`` by their size, each half cut once."""
    with session_showing(model.ir, values_met(sites), provider) as session:
        one, other = (hear_moments(session, sites, half) for half in halves)
    needed, sizes = [], []
    for site in sites:
        weight, rank = read_weight(site), max(site.break_even_rank // 2, 1)
        for read, fresh in ((one[site.name], other[site.name]), (other[site.name], one[site.name])):
            assert isinstance(read, SecondMoment)
            assert isinstance(fresh, SecondMoment)
            needed.append(read.tokens * excess_error(weight, read, fresh, rank) / EXCESS)
            sizes.append(site.parameters)
    return float(np.average(needed, weights=sizes))
