"""What ONNX Runtime says, made a sentence that helps."""

import numpy as np
import pytest

from squeeze_onnx.runtime.reasons import reason_of, way_out

HEAD = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'add' Status Message: "
)
PLACE = "/onnxruntime_src/onnxruntime/core/providers/cpu/math/element_wise_ops.h:583 "
WHERE = (
    PLACE + "void onnxruntime::BroadcastIterator::Append(ptrdiff_t, ptrdiff_t) axis == 1 || axis == largest was false. "
)
SIZES = "Attempting to broadcast an axis by a dimension other than 1. 64 by 100"
INDEX = "indices element out of data bounds, idx=64 must be within the inclusive range [-64,63]"
RUNNING = "Non-zero status code returned while running Add node. Name:'add' Status Message: "
LOADING = (
    "Load model from m.onnx failed:This is an invalid model. Error No Op registered for Foo with domain_version of 17"
)

CUT = "; a sequence has 100 tokens, and the graph seems to hold 64 positions: cut texts with `max_tokens` 64"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (HEAD + WHERE + SIZES, RUNNING + SIZES),
        (HEAD + INDEX, RUNNING + INDEX),
        (f"[ONNXRuntimeError] : 10 : INVALID_GRAPH : {LOADING}", LOADING),
        ("two\n lines", "two lines"),
        ("a" * 500 + "b" * 500, "a" * 300 + " … " + "b" * 300),
    ],
    ids=["with its source", "without", "when it is opened", "lines", "long ones keep their end"],
)
def test_a_reason_is_one_line_without_the_source_of_the_runtime(message: str, reason: str) -> None:
    assert reason_of(RuntimeError(message)) == reason


@pytest.mark.parametrize(
    ("reason", "tokens", "told"),
    [
        (SIZES, 100, CUT),
        (INDEX, 100, CUT),
        (SIZES, 40, ""),  # it is about something else
        (INDEX, 60, ""),  # more likely a word that the table does not have
        ("The input tensor cannot be reshaped", 100, ""),
    ],
)
def test_texts_that_are_longer_than_the_positions_are_to_be_cut(reason: str, tokens: int, told: str) -> None:
    assert way_out(reason, {"input_ids": np.zeros((2, tokens)), "count": np.zeros(3)}) == told
