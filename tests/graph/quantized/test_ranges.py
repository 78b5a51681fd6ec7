"""How large values get, constants that stand for infinity, and casts that cancel."""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.quantized.casts import skip_narrow_casts
from squeeze_onnx.graph.quantized.ranges import limit_constants, returning_magnitudes
from tests.compress.precision.tiny import FEEDS, block
from tests.graph.execution import run


def test_magnitudes_are_those_of_the_values() -> None:
    magnitudes = run(returning_magnitudes(block(), ["z", "y"]), FEEDS)
    model = block()
    model.graph.outputs[:] = [value for node in model.graph for value in node.outputs if value.name in ("z", "y")]
    expected = [np.abs(value).max() for value in run(model, FEEDS)]
    np.testing.assert_allclose(magnitudes, expected, rtol=1e-5)


def test_single_constants_are_limited_and_weights_are_not() -> None:
    model = block(shift=np.array(-3e38), left=np.full((32, 8), 1e6))
    limit_constants(model, 1e4)
    shift, left = (model.graph.initializers[name].const_value for name in ("shift", "left"))
    assert shift is not None and left is not None
    assert shift.numpy() == -1e4
    assert left.numpy().max() == 1e6


def test_float32_values_are_not_squeezed_through_float16() -> None:
    model = block()
    z = next(node for node in model.graph if node.name == "right").outputs[0]
    tanh = next(node for node in model.graph if node.name == "tanh")
    narrow = ir.node("Cast", [z], {"to": ir.DataType.FLOAT16})
    wide = ir.node("Cast", [narrow.outputs[0]], {"to": ir.DataType.FLOAT})
    for node in (narrow, wide):
        model.graph.insert_before(tanh, node)
    tanh.replace_input_with(0, wide.outputs[0])
    skip_narrow_casts(model)
    assert "Cast" not in {node.op_type for node in model.graph}
    np.testing.assert_array_equal(run(model, FEEDS)[0], run(block(), FEEDS)[0])
