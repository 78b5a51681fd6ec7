"""Inputs and outputs that stay in place."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.runtime.bound_session import BoundSession
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import ModelError
from tests.graph.tiny_graphs import tiny_model

DOUBLER = "g (float[B] x, float[2] p) => (float[B] y, float total) { y = Mul(x, p) total = ReduceSum<keepdims=0>(y) }"


def test_reads_and_writes_where_the_arrays_lie() -> None:
    session = open_session(ir.to_proto(tiny_model(DOUBLER)).SerializeToString())
    parameters, outputs, total = np.ones(4, np.float32), np.zeros(2, np.float32), np.zeros((), np.float32)
    # Half of a longer vector: views are fine.
    bound = BoundSession(session, {"p": parameters[2:]}, {"y": outputs, "total": total})
    for factor in (2.0, 3.0):
        parameters *= factor
        bound.run({"x": np.array([1, 10], np.float32)})
        assert outputs.tolist() == (parameters[2:] * [1, 10]).tolist()
        assert float(total) == outputs.sum()


def test_says_why_a_run_fails() -> None:
    session = open_session(ir.to_proto(tiny_model(DOUBLER)).SerializeToString())
    bound = BoundSession(session, {"p": np.ones(2, np.float32)}, {"y": np.zeros(2, np.float32)})
    with pytest.raises(ModelError, match="the model in memory does not run on cpu: "):
        bound.run({"x": np.ones(3, np.float32)})
