"""Casts that cancel."""

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from squeeze_onnx.graph.match.operators import int_attribute, op_of


def skip_narrow_casts(model: ir.Model) -> None:
    """Let what casts float32 to float16 and straight back read the float32 value; ``model`` changes in place.

    Two neighbours that both compute in float32 would else hand over infinity where float16 overflows.
    """
    for node in model.graph:
        narrow = node.inputs[0].producer() if _casts_to(node, ir.DataType.FLOAT) and node.inputs[0] else None
        wide = narrow.inputs[0] if narrow is not None and _casts_to(narrow, ir.DataType.FLOAT16) else None
        if wide is not None and not node.outputs[0].is_graph_output():
            node.outputs[0].replace_all_uses_with(wide)
    RemoveUnusedNodesPass()(model)


def _casts_to(node: ir.Node, dtype: ir.DataType) -> bool:
    return op_of(node) == "Cast" and int_attribute(node, "to") == dtype
