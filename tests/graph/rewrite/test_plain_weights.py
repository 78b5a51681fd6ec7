"""Weights as quantizers expect them: what is rewritten, what is left alone, and that nothing else changes."""

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.rewrite.plain_weights import plain_weight_sites
from tests.compress.precision.tiny import FEEDS, SITES, block
from tests.graph.execution import run


def test_a_gemm_is_unfolded_under_its_name_and_its_weight_stands_alone() -> None:
    model = block()
    sites = plain_weight_sites(model)
    assert tuple(site.name for site in sites) == SITES
    assert "Gemm" not in {node.op_type for node in model.graph}
    assert all(site.weight.source.is_initializer() and not site.weight.transposed for site in sites)
    np.testing.assert_allclose(run(model, FEEDS)[0], run(block(), FEEDS)[0], rtol=1e-5, atol=1e-6)


def test_a_gemm_that_scales_and_a_weight_of_another_type_are_left_alone() -> None:
    model = block()
    head = next(node for node in model.graph if node.op_type == "Gemm")
    head.attributes["alpha"] = ir.AttrFloat32("alpha", 2.0)
    right = model.graph.initializers["right"]
    assert right.const_value is not None
    right.const_value = ir.Tensor(right.const_value.numpy().astype(np.float64), name="right")
    assert [site.name for site in plain_weight_sites(model)] == ["table", "left"]
    assert "Gemm" in {node.op_type for node in model.graph}
