"""One node for what exporters write as many, where the whole is cheaper to differentiate than its parts.

    x ─► Div(√2) ─► Erf ─► Add(1) ─► Mul(x) ─► Mul(½) ─► y        x ─► com.microsoft.Gelu ─► y

Differentiated node by node, these five keep four values of the widest activation and pass over it fifteen times; as one, it is
ten passes. Nothing else of a BERT is worth it.
"""

from math import isclose, sqrt

import onnx_ir as ir

from squeeze_onnx.graph.operators import op_of


def fuse_gelus(model: ir.Model) -> int:
    """Replace every Gelu by erf in the main graph of ``model``, which changes in place; returns how many there were."""
    graph = model.graph
    found = 0
    for node in list(graph):
        match = _match(node) if op_of(node) == "Erf" else None
        if match is None:
            continue
        x, last = match
        y = last.outputs[0]
        gelu = ir.Node("com.microsoft", "Gelu", [x], name=last.name)
        gelu.outputs[0].name, gelu.outputs[0].type, gelu.outputs[0].shape = f"{y.name}/gelu", y.type, y.shape
        graph.insert_after(last, gelu)
        y.replace_all_uses_with(gelu.outputs[0], replace_graph_outputs=True)
        _remove_unused(graph, last)
        # The value keeps its name: others ask for it.
        gelu.outputs[0].name = y.name
        found += 1
    if found:
        graph.opset_imports.setdefault("com.microsoft", 1)
    return found


def _match(erf: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """Return x and the node that computes x · ½(1 + erf(x/√2)) by way of ``erf``, if there is one."""
    scaling = _producer(erf.inputs[0])
    x = None
    if scaling is not None and op_of(scaling) == "Div" and _is(scaling.inputs[1], sqrt(2)):
        x = scaling.inputs[0]
    elif scaling is not None and op_of(scaling) == "Mul":
        x = _other(scaling, 1 / sqrt(2))
    plus_one = _only_reader(erf.outputs[0], "Add")
    if x is None or plus_one is None or _other(plus_one, 1.0) is not erf.outputs[0]:
        return None
    product = _only_reader(plus_one.outputs[0], "Mul")
    if product is None:
        return None
    (factor,) = [value for value in product.inputs if value is not plus_one.outputs[0]]
    if factor is x:
        halving = _only_reader(product.outputs[0], "Mul")
        return None if halving is None or _other(halving, 0.5) is not product.outputs[0] else (x, halving)
    halved = _producer(factor)
    return (x, product) if halved is not None and op_of(halved) == "Mul" and _other(halved, 0.5) is x else None


def _other(node: ir.Node, number: float) -> ir.Value | None:
    """Return the operand of ``node`` that is not the constant ``number``, if the other one is."""
    left, right = node.inputs
    if _is(right, number):
        return left
    return right if _is(left, number) else None


def _is(value: ir.Value | None, number: float) -> bool:
    """Whether ``value`` is a constant scalar of that number."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.size == 1 and isclose(float(tensor.numpy().item()), number, rel_tol=1e-6)


def _only_reader(value: ir.Value, op: str) -> ir.Node | None:
    """Return the one node that reads ``value`` if it is an ``op``."""
    readers = {node for node, _ in value.uses()}
    if len(readers) != 1 or value.is_graph_output():
        return None
    (reader,) = readers
    return reader if op_of(reader) == op else None


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _remove_unused(graph: ir.Graph, node: ir.Node) -> None:
    """Remove ``node``, and what fed nothing else."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs):
        return
    operands = [value for value in node.inputs if value is not None]
    graph.remove(node, safe=True)
    for operand in operands:
        producer = operand.producer()
        if producer is not None and producer.graph is graph:
            _remove_unused(graph, producer)
