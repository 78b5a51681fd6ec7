import os
from collections.abc import Iterator

import numpy as np
import pytest

from squeeze_onnx.runtime.child_process import ChildProcess, pack, unpack
from squeeze_onnx.support.errors import DataError, MachineError


@pytest.fixture
def process() -> Iterator[ChildProcess]:
    with ChildProcess("tests.runtime.answering_process", "doubles numbers") as process:
        yield process


def test_a_question_is_answered_as_often_as_it_is_asked_whatever_else_is_printed(process: ChildProcess) -> None:
    assert [process.ask("twice", number=number) for number in (1, 20)] == [2, 40]


def test_arrays_come_back_with_type_and_shape(process: ChildProcess) -> None:
    arrays: dict[str, np.ndarray] = {
        "ids": np.arange(6).reshape(2, 3),
        "x": np.ones((1, 2), np.float32),
        "none": np.ones((0, 4), np.int32),
    }
    answer = unpack(process.ask("negative", arrays=pack(arrays)))
    for name, array in arrays.items():
        np.testing.assert_array_equal(answer[name], -array)
        assert answer[name].dtype == array.dtype
        assert answer[name].flags.writeable


def test_an_error_on_purpose_is_raised_here_and_the_process_goes_on(process: ChildProcess) -> None:
    with pytest.raises(DataError, match=r"^row 3 of train\.tsv is empty$"):
        process.ask("refuse")
    assert process.ask("twice", number=3) == 6


@pytest.mark.parametrize(
    ("question", "end"),
    [
        ("fail", "ended with status 1: ZeroDivisionError: a fault of the program"),
        ("leave", "ended with status 3"),
        ("kill", "was ended by SIGKILL, as happens where memory runs out"),
        ("what no handler answers", "ended with status 1: KeyError: 'what no handler answers'"),
    ],
)
def test_a_process_that_ends_says_how_in_one_sentence(process: ChildProcess, question: str, end: str) -> None:
    with pytest.raises(MachineError, match=f"^the process that doubles numbers {end}$"):
        process.ask(question)
    with pytest.raises(MachineError, match=r"^the process that doubles numbers "):
        process.ask("twice", number=1)


def test_closing_ends_the_process(process: ChildProcess) -> None:
    assert process.ask("twice", number=1) == 2
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.number, 0)
