"""A graph whose sublayers can be taken out from outside: an input for each says whether its constant takes its place."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.match.names import free_name, names_in
from squeeze_onnx.graph.match.sublayers import Sublayer


def open_to_removal(
    model: ir.Model, sublayers: Sequence[Sublayer], constants: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """Let a boolean scalar, by the name of each of the ``sublayers``, put its constant (features,) in its place if it is true.

    ``model``, which has them, changes in place. Returns the names of the inputs by those of the sublayers.
    """
    taken = names_in(model)
    inputs = {}
    for sublayer in sublayers:
        name = free_name(f"{sublayer.name}/removed", taken)
        taken.add(name)
        switch = ir.Value(name=name, type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
        model.graph.inputs.append(switch)
        dtype = sublayer.after.weight.dtype
        entries = ir.Tensor(constants[sublayer.name].astype(dtype.numpy()), dtype=dtype, name=f"{name}/constant")
        constant = ir.Value(name=entries.name, type=ir.TensorType(dtype), shape=entries.shape, const_value=entries)
        model.graph.register_initializer(constant)
        chosen = ir.Node("", "Where", [switch, constant, sublayer.branch], name=f"{name}/chosen")
        chosen.outputs[0].name = f"{name}/chosen"
        model.graph.insert_before(sublayer.join, chosen)
        sublayer.join.replace_input_with(sublayer.operand, chosen.outputs[0])
        inputs[sublayer.name] = name
    return inputs
