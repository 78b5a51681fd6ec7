"""Perturbations: what changes, what stays, and that a seed decides."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.evaluate.perturbations import PERTURBATIONS, perturbed

TEXT = "the quick brown fox jumps over a lazy dog"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("swap_characters", "abcd ef g", "badc fe g"),
        ("delete_characters", "abcd ef g", "a e g"),
        ("duplicate_characters", "ab c", "aabb cc"),
        ("drop_words", "one two three", "one"),
        ("swap_words", "one two three", "two one three"),
    ],
)
def test_a_chance_of_one_changes_every_place(name: str, text: str, expected: str) -> None:
    assert PERTURBATIONS[name](text, 1.0, np.random.default_rng(0)) == expected


@pytest.mark.parametrize("name", PERTURBATIONS)
@given(text=st.text(st.sampled_from("ab c"), min_size=1).filter(str.strip), seed=st.integers(0, 2**32 - 1))
def test_no_chance_changes_no_word_and_no_chance_at_all_leaves_nothing(name: str, text: str, seed: int) -> None:
    change = PERTURBATIONS[name]
    assert change(text, 0.0, np.random.default_rng(seed)).split() == text.split()
    assert change(text, 0.5, np.random.default_rng(seed)).strip()


@pytest.mark.parametrize("name", ["swap_characters", "swap_words"])
@given(seed=st.integers(0, 2**32 - 1))
def test_swaps_lose_nothing(name: str, seed: int) -> None:
    changed = PERTURBATIONS[name](TEXT, 0.4, np.random.default_rng(seed))
    assert Counter(changed) == Counter(TEXT)


def test_about_as_many_places_change_as_the_chance_says() -> None:
    words = "word " * 4000
    kept = len(PERTURBATIONS["drop_words"](words, 0.2, np.random.default_rng(1)).split())
    assert kept == pytest.approx(3200, abs=100)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_seed_and_nothing_else_decides(name: str) -> None:
    rows = ((TEXT, TEXT), (TEXT, "a b c d e f"))
    first, again, other = (perturbed(rows, name, 0.3, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [len(texts) for texts in first] == [2, 2]
    assert first[0][0] != first[0][1]  # every text has its own places
