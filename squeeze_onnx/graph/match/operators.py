"""What this package knows about ONNX operators: where a weight sits, and which operands carry data.

Every other module of `graph` asks these tables; none compares operator names itself. An operator is written as in
``op_of``: ``"MatMul"`` for the ONNX domain, ``"com.microsoft.FusedMatMul"`` for another.
"""

from dataclasses import dataclass

import onnx_ir as ir

from squeeze_onnx.support.errors import ModelError


def op_of(node: ir.Node) -> str:
    """Return the operator of ``node``, with its domain unless that is ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Return the operand ``index`` of ``node``; None if it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def int_attribute(node: ir.Node, name: str, default: int = 0) -> int:
    """Return the integer attribute ``name`` of ``node``."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


@dataclass(frozen=True)
class WeightOperator:
    """How an operator uses a constant matrix, and so how two matrices can take its place.

    rows: the operand whose rows meet the weight (for a lookup: the indices).
    weight: the operand that is the weight.
    transpose: the attribute that makes the operator transpose its weight, if it has one.
    off: attributes that must be 0 (or absent) for ``rows @ left`` to be a valid first step.
    lookup: the operator picks rows of the weight instead of multiplying with it.
    bias: the operand that is added to the product, if there is one, and the factors of both, 1 where absent.
    """

    rows: int = 0
    weight: int = 1
    bias: int | None = None
    scales: tuple[str, ...] = ()
    transpose: str | None = None
    off: tuple[str, ...] = ()
    lookup: bool = False

    def transposes_weight(self, node: ir.Node) -> bool:
        """Whether ``node`` multiplies with the transpose of its operand."""
        return self.transpose is not None and int_attribute(node, self.transpose) == 1


WEIGHT_OPERATORS = {
    "MatMul": WeightOperator(),
    "Gemm": WeightOperator(bias=2, scales=("alpha", "beta"), transpose="transB", off=("transA",)),
    "com.microsoft.FusedMatMul": WeightOperator(
        scales=("alpha",), transpose="transB", off=("transA", "transBatchA", "transBatchB")
    ),
    "com.microsoft.FusedGemm": WeightOperator(bias=2, scales=("alpha", "beta"), transpose="transB", off=("transA",)),
    # The packed weight [hidden, query + key + value]: the kernel accepts inputs of any width.
    "com.microsoft.Attention": WeightOperator(bias=2),
    "Gather": WeightOperator(rows=1, weight=0, off=("axis",), lookup=True),
}

LOOKUP = "Gather"


def rows_of(node: ir.Node) -> ir.Value:
    """Return the operand of ``node``, one of `WEIGHT_OPERATORS`, whose rows meet its weight.

    Raises ModelError if it is missing.
    """
    value = node.inputs[WEIGHT_OPERATORS[op_of(node)].rows]
    if value is None:
        raise ModelError(f"{op_of(node)} {node.name!r} lacks a required input: export the model again")
    return value


def product_scale(node: ir.Node) -> float:
    """Return what ``node``, one of `WEIGHT_OPERATORS`, multiplies the product of rows and weight with."""
    scale = node.attributes.get("alpha") if "alpha" in WEIGHT_OPERATORS[op_of(node)].scales else None
    return 1.0 if scale is None else scale.as_float()


# Of these, what computes nothing but the product: no bias, no activation, no attention.
BARE_PRODUCTS = frozenset({"MatMul", "Gather"})

INTEGERS = (  # graph.dequantizing knows these
    "stores its weight as integers; `dequantize` turns back into floats what ONNX Runtime's quantizers write, "
    "else squeeze the float model first and quantize afterwards"
)
_INTEGERS_ONLY = "stores its weight as integers; squeeze the float model first and quantize afterwards"
_FUSED = "has its weight fused in; squeeze the model before it is fused"
_NOT_A_PRODUCT = "is not a plain matrix product"

# Operators with a weight that two MatMuls cannot replace: the operands that may hold it, and why.
CLOSED_OPERATORS: dict[str, tuple[tuple[int, ...], str]] = {
    "MatMulInteger": ((1,), INTEGERS),
    "QLinearMatMul": ((3,), _INTEGERS_ONLY),
    "com.microsoft.DynamicQuantizeMatMul": ((1,), INTEGERS),
    "com.microsoft.GatherBlockQuantized": ((0,), INTEGERS),
    "com.microsoft.MatMulBnb4": ((1,), _INTEGERS_ONLY),
    "com.microsoft.MatMulFpQ4": ((1,), _INTEGERS_ONLY),
    "com.microsoft.MatMulInteger16": ((1,), _INTEGERS_ONLY),
    "com.microsoft.MatMulIntegerToFloat": ((1,), INTEGERS),
    "com.microsoft.MatMulNBits": ((1,), INTEGERS),
    "com.microsoft.QAttention": ((1,), INTEGERS),
    "com.microsoft.QEmbedLayerNormalization": ((2, 3, 4), _INTEGERS_ONLY),
    "com.microsoft.QGemm": ((3,), _INTEGERS_ONLY),
    "com.microsoft.QLinearMatMul": ((3,), _INTEGERS_ONLY),
    "com.microsoft.EmbedLayerNormalization": (
        (2, 3, 4),
        "has its tables fused in; squeeze the model before it is fused",
    ),
    "com.microsoft.DecoderAttention": ((2, 3), _FUSED),
    "com.microsoft.GemmFastGelu": ((1,), _FUSED),
    "com.microsoft.LongformerAttention": ((1, 4), _FUSED),
    "com.microsoft.PackedAttention": ((1,), _FUSED),
    "Einsum": ((0, 1), _NOT_A_PRODUCT),
    "GRU": ((1, 2), _NOT_A_PRODUCT),
    "LSTM": ((1, 2), _NOT_A_PRODUCT),
    "RNN": ((1, 2), _NOT_A_PRODUCT),
}

ATTENTION = "Attention"
"""ONNX's own, since opset 23."""
# Attention with query, key and value as its first three operands.
ATTENTION_CORES = frozenset(
    {
        ATTENTION,
        "com.microsoft.DecoderMaskedMultiHeadAttention",
        "com.microsoft.GroupQueryAttention",
        "com.microsoft.MultiHeadAttention",
        "com.microsoft.PackedMultiHeadAttention",
        "com.microsoft.SparseAttention",
    }
)
MULTI_HEAD_ATTENTION = "com.microsoft.MultiHeadAttention"
# Attention that holds the packed query, key and value weight itself.
PACKED_ATTENTION = "com.microsoft.Attention"

SOFTMAXES = frozenset({"Softmax", "com.microsoft.BiasSoftmax"})
# What may multiply two activations, and which operands: scores = query · keyᵀ, context = probabilities · value.
PRODUCTS = {
    "MatMul": (0, 1),
    "com.microsoft.FusedMatMul": (0, 1),
    "Einsum": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "com.microsoft.QLinearMatMul": (0, 3),
}
# What splits features into heads, joins them again, and scales them.
HEAD_LAYOUTS = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
SCALINGS = frozenset({"Div", "Mul"})
# Where a branch comes back to the residual stream.
ADDITIONS = frozenset(
    {
        "Add",
        "Sum",
        "com.microsoft.SkipGroupNorm",
        "com.microsoft.SkipLayerNormalization",
        "com.microsoft.SkipSimplifiedLayerNormalization",
    }
)
NONLINEARITIES = frozenset(
    {
        "Celu",
        "Elu",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "PRelu",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Swish",
        "Tanh",
        "ThresholdedRelu",
        "com.microsoft.BiasGelu",
        "com.microsoft.BiasSplitGelu",
        "com.microsoft.FastGelu",
        "com.microsoft.FusedGemm",
        "com.microsoft.Gelu",
        "com.microsoft.QuickGelu",
    }
)
# What treats every entry of a value alike, or together with its like in another value; among them the parts of a Gelu.
ELEMENTWISE = (NONLINEARITIES - {"com.microsoft.BiasSplitGelu", "com.microsoft.FusedGemm"}) | {
    "Abs",
    "Add",
    "Cast",
    "Clip",
    "Div",
    "Dropout",
    "Exp",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Pow",
    "Sqrt",
    "Sub",
}

# What returns the entries of its first operand (Concat: of all), or some of them, in other places.
MOVES = frozenset({"Concat", "Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})

LAYER_NORMALIZATIONS = frozenset(
    {"LayerNormalization", "com.microsoft.EmbedLayerNormalization", "com.microsoft.SkipLayerNormalization"}
)
# What ONNX Runtime has one kernel for, and how a table calls it.
FUSED_OPERATORS = {
    PACKED_ATTENTION: "Attention",
    MULTI_HEAD_ATTENTION: "Attention",
    "com.microsoft.EmbedLayerNormalization": "EmbedLayerNormalization",
    "com.microsoft.SkipLayerNormalization": "SkipLayerNormalization",
    "com.microsoft.BiasGelu": "Gelu",
    "com.microsoft.FastGelu": "Gelu",
    "com.microsoft.Gelu": "Gelu",
}

# Operators that work along some axes, and the operand that names these since they are no attribute any more.
AXES_OPERANDS = {"Slice": 3, "ReduceMax": 1, "ReduceMean": 1, "ReduceSum": 1}

# Everything that mixes features. A walk through the graph that looks for "the next weight" ends at one of these.
_OTHER_MIXERS = frozenset({"Conv", "ConvTranspose", "If", "Loop", "Scan"})
MIXERS = (WEIGHT_OPERATORS.keys() - {"Gather"}) | CLOSED_OPERATORS.keys() | ATTENTION_CORES | _OTHER_MIXERS


def mixes(node: ir.Node) -> bool:
    """Whether ``node`` mixes features, so that a walk that looks for the next weight ends there.

    An Einsum of one operand permutes or sums axes.
    """
    op = op_of(node)
    return op in MIXERS and not (op == "Einsum" and len(node.inputs) == 1)


# Operators whose output depends on shapes only.
_SHAPE_READERS = frozenset({"Shape", "Size"})
# Operators whose first operand is data; the others are shapes, indices, bounds, scales.
_FIRST_IS_DATA = frozenset(
    {
        "Clip",
        "Compress",
        "CumSum",
        "DequantizeLinear",
        "Dropout",
        "Expand",
        "Gather",
        "GatherElements",
        "GatherND",
        "Pad",
        "QuantizeLinear",
        "ReduceMax",
        "ReduceMean",
        "ReduceSum",
        "Reshape",
        "Resize",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Trilu",
        "Unsqueeze",
        "com.microsoft.DequantizeLinear",
        "com.microsoft.QuantizeLinear",
    }
)

_SCATTERS = frozenset({"ScatterElements", "ScatterND"})


def data_operands(node: ir.Node) -> tuple[int, ...]:
    """Return the positions of the operands whose entries end up in the output of ``node``."""
    op = op_of(node)
    if op in _SHAPE_READERS:
        return ()
    if op in _FIRST_IS_DATA:
        return (0,)
    if op == "Where":
        return (1, 2)
    if op in _SCATTERS:
        return (0, 2)
    return tuple(range(len(node.inputs)))
