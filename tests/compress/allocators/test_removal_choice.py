"""Whole sublayers as another way to spend a budget: how far one goes on the path on which they were measured."""

from dataclasses import replace

from squeeze_onnx.compress.allocators import Objective
from squeeze_onnx.compress.allocators.removal_choice import (
    RemovableSublayer,
    beginnings,
    error_of,
    sites_of,
)

ATTENTION = RemovableSublayer(("query", "key", "value", "attention_output"), 0.25)
FEED_FORWARD = RemovableSublayer(("ffn_in", "ffn_out"), 0.5)
PATH = (ATTENTION, FEED_FORWARD)


def test_a_sublayer_goes_after_those_before_it() -> None:
    assert beginnings(PATH) == ((), (ATTENTION,), PATH)
    assert beginnings(()) == ((),)


def test_all_weights_of_it_go() -> None:
    assert sites_of(PATH) == {"query", "key", "value", "attention_output", "ffn_in", "ffn_out"}
    assert FEED_FORWARD.name == "ffn_out"


def test_the_error_is_that_of_all_of_them_together() -> None:
    assert [error_of(path) for path in beginnings(PATH)] == [0.0, 0.25, 0.5]


def test_what_it_takes_beside_its_weights_goes_too() -> None:
    timed = Objective(fixed=10.0, beside_weights={"attention_output": 4.0, "ffn_out": 3.0})
    assert [timed.fixed_without(sites_of(path)) for path in beginnings(PATH)] == [10.0, 6.0, 3.0]
    assert replace(timed, fixed=5.0).fixed_without(sites_of(PATH)) == 0.0
    assert Objective(fixed=10.0).fixed_without(sites_of(PATH)) == 10.0
