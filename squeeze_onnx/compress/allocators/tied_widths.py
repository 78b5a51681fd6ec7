"""Blocks whose heads have to be equally wide: what a decoder's cache holds is declared once for all of its layers."""

from collections.abc import Sequence
from functools import reduce

import numpy as np

from squeeze_onnx.compress.allocators.base import Alternative
from squeeze_onnx.compress.allocators.slice_choice import Slicing
from squeeze_onnx.support.errors import OptionError


def parted(alternatives: Sequence[Alternative]) -> tuple[tuple[Alternative, ...], tuple[Slicing, ...]]:
    """Return those of ``alternatives`` that may choose by themselves, and those whose heads are tied."""
    tied = tuple(each for each in alternatives if isinstance(each, Slicing) and each.tied_heads)
    return tuple(each for each in alternatives if not isinstance(each, Slicing) or not each.tied_heads), tied


def ways_to_tie(tied: Sequence[Slicing], share: float | None = None) -> tuple[tuple[Slicing, ...], ...]:
    """Return the ways to choose for all blocks ``tied``: none of them is sliced, or each to one and the same width.

    The width of all dimensions is no choice: as good as none of them sliced, whose weights may still be factored. With a
    ``share`` no more than that of the dimensions stays. Raises OptionError if nothing would.
    """
    if not tied:
        return ((),)
    whole = max(int(each.widths.max()) for each in tied)
    common = reduce(np.intersect1d, (each.widths for each in tied))
    widths = [int(width) for width in common if width < whole and (share is None or width <= share * whole)]
    if share is not None and not widths:
        raise OptionError(
            f"`keep_cache` {share} is too little: heads of {whole} dimensions have {common.min()} at least"
        )
    ways = tuple(tuple(each.at(width) for each in tied) for width in widths)
    return ways if share is not None else ((), *ways)
