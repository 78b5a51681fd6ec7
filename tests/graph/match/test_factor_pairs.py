"""Which MatMuls are factors of one weight."""

import onnx_ir as ir

from squeeze_onnx.graph.match.factor_pairs import find_factor_pairs
from squeeze_onnx.graph.match.sites import find_sites
from tests.compress.precision.tiny import block


def pairs(model: ir.Model) -> list[tuple[str, str]]:
    return [(pair.left.name, pair.right.name) for pair in find_factor_pairs(find_sites(model).sites)]


def test_two_products_in_a_row_are_a_pair() -> None:
    assert pairs(block()) == [("left", "right")]


def test_a_product_that_something_else_reads_is_no_left_factor() -> None:
    model = block()
    left = next(node for node in model.graph if node.name == "left")
    model.graph.append(ir.Node("", "Tanh", [left.outputs[0]], name="other"))
    assert pairs(model) == []


def test_of_three_in_a_row_the_first_two_are_a_pair() -> None:
    model = block()
    shift = next(node for node in model.graph if node.name == "shift")
    assert shift.inputs[0] is not None
    shift.outputs[0].replace_all_uses_with(shift.inputs[0])
    model.graph.remove(shift, safe=True)
    assert pairs(model) == [("table", "left")]
