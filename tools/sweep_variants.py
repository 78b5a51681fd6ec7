"""What people do to an exported model before they squeeze it: convert, simplify, fuse, lower and quantize it, in every form."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from tests.architectures import ARCHITECTURES, EXPORTERS, VOCABULARY

NEW_OPSETS = range(19, onnx.defs.onnx_opset_version() + 1)

Tool = Callable[[Path, Path], None]
"""Reads one file and writes the other."""

_PADDED = (np.arange(9) < np.array([[9], [5], [3]])).astype(np.int64)
_SIZES = {"batch": 3, "batch_size": 3, "sequence": 9, "sequence_length": 9, "encoder_sequence_length": 9}
_OTHER_SIZE = 4


def feeds_for(path: Path) -> dict[str, np.ndarray]:
    """Return inputs for the model at ``path``: three sequences, the last two padded, and random states and pasts."""
    rng = np.random.default_rng(0)
    feeds = {}
    for value in onnx.load(path, load_external_data=False).graph.input:
        shape = [dim.dim_value or _size(dim.dim_param) for dim in value.type.tensor_type.shape.dim]
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.asarray(_entries(value.name, shape, kind, rng), kind)
    return feeds


def _size(name: str) -> int:
    """Return the size that a dimension gets, by its name: "past_sequence_length + 1" is a sum."""
    return sum(int(part) if part.isdecimal() else _SIZES.get(part, _OTHER_SIZE) for part in name.split(" + "))


def _entries(name: str, shape: list[int], kind: np.dtype, rng: np.random.Generator) -> np.ndarray:
    if name.endswith("input_ids"):
        return rng.integers(5, VOCABULARY, shape)
    if name.endswith("mask"):
        return _PADDED if shape == list(_PADDED.shape) else np.ones(shape)
    if name == "position_ids":
        return np.broadcast_to(np.arange(shape[-1]), shape)
    if name == "token_type_ids":
        return rng.integers(0, 2, shape)
    return np.zeros(shape) if kind == np.bool_ else rng.standard_normal(shape)


def _at_opset(number: int) -> Tool:
    def convert(source: Path, target: Path) -> None:
        onnx.save(version_converter.convert_version(onnx.load(source), number), target)

    return convert


def _to_bfloat16(source: Path, target: Path) -> None:
    """Everything in bfloat16 that was float32: the reference evaluator runs it, ONNX Runtime's CPU provider does not."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        _cast_tensor(tensor)
    for node in _nodes(model.graph):
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float32))))
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
            if attribute.type == onnx.AttributeProto.TENSOR:
                _cast_tensor(attribute.t)
    for value in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(model, target)


def _bfloat16_weights(source: Path, target: Path) -> None:
    """Matrices in bfloat16, each behind a Cast; everything is computed in float32."""
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2:
            stored = f"{tensor.name}/bfloat16"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.name = stored
            _cast_tensor(tensor)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, target)


def _inputs_for_weights(source: Path, target: Path) -> None:
    """IR version 3: every initializer is a graph input too."""
    model = onnx.load(source)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, target)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _cast_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        entries = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(entries, tensor.name))


def _simplify(source: Path, target: Path) -> None:
    """onnxsim."""
    import onnxsim

    simplified, whole = onnxsim.simplify(onnx.load(source))
    if not whole:
        raise ValueError("onnxsim's own check fails")
    onnx.save(simplified, target)


def _quantize_dynamically(*, per_channel: bool = False) -> Tool:
    def quantize(source: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        untyped = {"DefaultTensorType": TensorProto.FLOAT}  # behind operators that ONNX does not know
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=per_channel, extra_options=untyped)

    return quantize


def _quantize_statically(form: str) -> Tool:
    """QDQ, or operators on integers, QLinearMatMul among them."""

    def quantize(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class OneBatch(CalibrationDataReader):  # type: ignore[misc]
            batches = iter([feeds_for(source)])

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.batches, None)

        quantize_static(source, target, OneBatch(), quant_format=QuantFormat[form])

    return quantize


def _in_bits(bits: int, *, qdq: bool = False, symmetric: bool = True) -> Tool:
    def quantize(source: Path, target: Path) -> None:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer, QuantFormat

        form = QuantFormat.QDQ if qdq else QuantFormat.QOperator
        quantizer = MatMulNBitsQuantizer(
            onnx.load(source), bits=bits, block_size=16, is_symmetric=symmetric, quant_format=form
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(target))

    return quantize


def _exporter(name: str) -> Tool:
    """Return an exporter of `tests.architectures` that starts from a file beside its own."""

    def export(source: Path, target: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / source.parent.name
            folder.mkdir()
            base = "dynamo" if name == "dynamo_fused" else "optimum"
            (folder / f"{base}.onnx").write_bytes(source.read_bytes())
            EXPORTERS[name](ARCHITECTURES["bert"], folder)
            (folder / f"{name}.onnx").rename(target)

    return export


VARIANTS: dict[str, tuple[str, Tool]] = {
    **{f"opset{number}": ("optimum", _at_opset(number)) for number in NEW_OPSETS},
    "simplified": ("optimum", _simplify),
    "simplified_opset13": ("script_opset13", _simplify),
    "simplified_dynamo": ("dynamo", _simplify),
    "fused_level0": ("optimum", _exporter("fused_level0")),
    "fused_level1": ("optimum", _exporter("fused_level1")),
    "fused_level2": ("optimum", _exporter("fused_level2")),
    "fused_dynamo": ("dynamo", _exporter("dynamo_fused")),
    "offline": ("optimum", _exporter("offline")),
    "float16": ("optimum", _exporter("float16")),
    "float16_fused": ("fused_level1", _exporter("float16")),
    "bfloat16": ("optimum", _to_bfloat16),
    "bfloat16_weights": ("optimum", _bfloat16_weights),
    "bfloat16_weights_dynamo": ("dynamo", _bfloat16_weights),
    "int8": ("optimum", _quantize_dynamically()),
    "int8_opset13": ("script_opset13", _quantize_dynamically()),
    "int8_channels": ("optimum", _quantize_dynamically(per_channel=True)),
    "int8_dynamo": ("dynamo", _quantize_dynamically()),
    "int8_fused": ("fused_level1", _quantize_dynamically()),
    "int8_offline": ("int8", _exporter("offline")),
    "qdq": ("optimum", _quantize_statically("QDQ")),
    "qdq_dynamo": ("dynamo", _quantize_statically("QDQ")),
    "qdq_offline": ("qdq", _exporter("offline")),
    "qoperator": ("optimum", _quantize_statically("QOperator")),
    "nbits4": ("optimum", _in_bits(4)),
    "nbits4_zeros": ("optimum", _in_bits(4, symmetric=False)),
    "nbits8": ("optimum", _in_bits(8)),
    "nbits4_qdq": ("opset21", _in_bits(4, qdq=True)),
    "inputs_for_weights": ("script_opset11", _inputs_for_weights),
}
"""Name → what it is made of, and how. One may be made of another one before it."""


def is_quantized(name: str) -> bool:
    """Whether the variant ``name`` stores its weights as integers."""
    return name.startswith(("int8", "nbits", "qdq", "qoperator"))


def float_source(name: str) -> str:
    """Return the float export that the quantized variant ``name`` comes from."""
    while is_quantized(name):
        name, _ = VARIANTS[name]
    return name
