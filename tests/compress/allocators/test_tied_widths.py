"""Heads that a cache holds: one width for all of them, the best one, or none is sliced."""

from dataclasses import replace

import numpy as np
import pytest

from squeeze_onnx.compress.allocators import Candidate, GlobalBudget, SliceChoice, Slicing
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError

FLAT = np.ones(16)
WIDTHS = np.array([8, 6, 4, 2])


def candidate(name: str) -> Candidate:
    """Return a weight that every lower rank costs much."""
    return Candidate(name, Spectrum(FLAT, (16, 16), "identity"), edge=0.0, sensitivity=10.0)


def block(before: str, after: str, error: float, heads: int = 2) -> Slicing:
    return Slicing(((before, 16),), ((after, 16),), heads * WIDTHS, error * (8.0 - WIDTHS), {}, heads)


SITES = [candidate(name) for name in ("k0", "q0", "k1", "q1")]
CHEAP, DEAR = block("k0", "q0", 0.01), block("k1", "q1", 0.1)


def widths(allocator: GlobalBudget) -> list[int]:
    choices = allocator.allocate(SITES)
    return [
        choice.shape[1] // 2 for choice in choices.values() if isinstance(choice, SliceChoice) and choice.shape[0] == 16
    ]


def test_all_are_as_wide_as_each_other_though_one_alone_would_be_cheaper() -> None:
    free = GlobalBudget(0.75, (replace(CHEAP, tied_heads=0), replace(DEAR, tied_heads=0)))
    assert widths(free) == [4]  # and the others whole
    assert widths(GlobalBudget(0.75, (CHEAP, DEAR))) == [6, 6]


@pytest.mark.parametrize(("share", "width"), [(0.9, 6), (0.5, 4), (0.3, 2)])
def test_a_share_of_the_cache_is_kept_at_most(share: float, width: int) -> None:
    allocator = GlobalBudget(1.0, (CHEAP, DEAR), tied_share=share)
    assert widths(allocator) == [width, width]
    assert allocator.forecast(SITES, [1.0])[0].output_error == pytest.approx((8 - width) * 0.11)


def test_less_than_there_is_is_refused() -> None:
    with pytest.raises(OptionError, match=r"`keep_cache` 0\.1 is too little: heads of 8 dimensions have 2 at least"):
        GlobalBudget(1.0, (CHEAP, DEAR), tied_share=0.1).allocate(SITES)


def test_blocks_under_a_floor_are_not_sliced() -> None:
    floored = [replace(site, floor=0.9) for site in SITES]
    choices = GlobalBudget(1.0, (CHEAP, DEAR)).allocate(floored)
    assert not any(isinstance(choice, SliceChoice) for choice in choices.values())
