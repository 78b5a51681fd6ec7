"""What is held back of text and of samples, and that nothing of it is left to calibration."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.held_back import (
    ENOUGH,
    FEWEST,
    MOST,
    Calibration,
    held_back_of,
    hold_back_samples,
    hold_back_texts,
    rows_of,
    wanted,
)
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.readers import Texts

words = st.integers(0, 60).map(str)
pairs = st.lists(st.tuples(words, words) | st.tuples(words), max_size=60)


def sentences(start: int, stop: int) -> list[Texts]:
    return [(str(number),) for number in range(start, stop)]


def texts_of(rows: Sequence[Texts]) -> set[str]:
    return {text for texts in rows for text in texts}


@given(read=pairs, beyond=pairs, taken=st.sets(words, max_size=20))
def test_no_text_is_both_read_and_held_back(read: list[Texts], beyond: list[Texts], taken: set[str]) -> None:
    read = list(dict.fromkeys(read))
    left, held_back = hold_back_texts(read, [*read, *beyond], taken)
    assert not texts_of(left) & texts_of(held_back)
    assert not texts_of(held_back) & taken
    assert len(set(held_back)) == len(held_back)
    assert set(left) <= set(read)
    assert set(held_back) <= {*read, *beyond}
    assert len(held_back) == 0 or len(held_back) >= FEWEST
    assert len(left) >= len(read) - wanted(len(read))


def test_what_lies_beyond_calibration_costs_it_nothing() -> None:
    read = sentences(0, 1024)
    assert hold_back_texts(read, sentences(0, 1024 + ENOUGH)) == (read, sentences(1024, 1024 + ENOUGH))
    assert hold_back_texts(read, sentences(0, 5000)) == (read, sentences(1024, 1024 + MOST))


def test_calibration_gives_only_what_is_missing_beyond_it() -> None:
    left, held_back = hold_back_texts(sentences(0, 1024), sentences(1024, 1054))
    assert left == sentences(0, 1024 - (ENOUGH - 30))
    assert held_back == [*sentences(1024, 1054), *sentences(990, 1024)]


@pytest.mark.parametrize(("rows", "held"), [(15, 0), (16, 4), (40, 5), (512, 64), (8192, 64)])
def test_of_a_source_that_is_read_whole_a_share_is_held_back(rows: int, held: int) -> None:
    left, held_back = hold_back_texts(sentences(0, rows), [])
    assert left == sentences(0, rows - held)
    assert held_back == sentences(rows - held, rows)


def test_a_few_texts_beyond_few_are_enough() -> None:
    assert hold_back_texts(sentences(0, 3), sentences(3, 7)) == (sentences(0, 3), sentences(3, 7))
    assert hold_back_texts(sentences(0, 3), sentences(3, 6)) == (sentences(0, 3), [])


def test_of_pairs_only_those_are_held_back_that_share_no_text() -> None:
    shared: list[Texts] = [("premise", str(number)) for number in range(20)]
    alone: list[Texts] = [(f"{number} a", f"{number} b") for number in range(4)]
    assert hold_back_texts([*alone, *shared], []) == (shared, alone)
    assert hold_back_texts(shared, []) == (shared, [])


@given(st.lists(st.binary(max_size=1), max_size=200))
def test_no_sample_is_both_read_and_held_back(keys: list[bytes]) -> None:
    apart = hold_back_samples(keys)
    held_back = {keys[index] for index in apart}
    read = {key for index, key in enumerate(keys) if index not in apart}
    assert not held_back & read
    assert apart == sorted(set(apart))


def test_samples_are_held_back_all_along_the_file() -> None:
    apart = hold_back_samples([bytes([number]) for number in range(80)])
    assert apart == list(range(0, 80, 8))
    assert hold_back_samples([bytes([number]) for number in range(15)]) == []


def test_a_calibration_is_the_sequence_of_what_may_be_read() -> None:
    batches = tuple(CalibrationBatch({"x": np.zeros((size, 2))}, None) for size in (3, 2))
    held_back = (CalibrationBatch({"x": np.ones((4, 2))}, None),)
    calibration = Calibration(batches, held_back)
    assert (*calibration,) == calibration[:] == batches
    assert (len(calibration), calibration[1]) == (2, batches[1])
    assert (rows_of(calibration), rows_of(held_back_of(calibration))) == (5, 4)
    assert held_back_of(batches) == ()
    assert not Calibration(())
