"""What fused operators of ``com.microsoft`` compute, in operators that have rules; written out for learning only.

    SkipLayerNormalization(x, skip, γ, β, bias) ─► Add ─► Add ─► LayerNormalization
    Attention(x, W, bias, mask) ─► MatMul ─► Add ─► Split ─► MatMul(Q, Kᵀ) ─► Softmax ─► MatMul(·, V)

Definitions: ONNX Runtime's docs/ContribOperators.md. What is not said here (pasts, packed operands, pointers to windows) has no
body, and so no gradient.
"""

from collections.abc import Callable, Sequence

import onnx
import onnx_ir as ir

from squeeze_onnx.graph.match.operators import int_attribute, op_of, operand

_MASKED = -10000.0
"""What is added to the scores of what is masked, unless a node says something else."""

Ranks = Sequence[int | None]
"""How many axes each operand has; None for one that is left out."""


def fused_body(node: ir.Node, ranks: Ranks, opset: int) -> onnx.FunctionProto | None:
    """Return what ``node`` computes, in ``opset`` of ONNX's own domain; None if that is not known."""
    write = FUSED_BODIES.get(op_of(node))
    found = None if write is None else write(node, ranks, opset)
    if found is None:
        return None
    outputs, lines = found
    inputs = ", ".join(f"i{index}" for index in range(len(node.inputs)))
    header = f'<domain: "written_out", opset_import: ["": {opset}]>'
    return onnx.parser.parse_function(f"{header} body ({inputs}) => ({', '.join(outputs)}) {{ {' '.join(lines)} }}")


_Body = tuple[Sequence[str], list[str]]
"""The names of the outputs, and the nodes in ONNX's text form; operands are called i0, i1, …"""


def _has(node: ir.Node, index: int) -> bool:
    return operand(node, index) is not None


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.as_float())


def _summed(node: ir.Node, bias: int) -> list[str]:
    lines = ["both = Add(i0, i1)"]
    return [*lines, f"sum = Add(both, i{bias})" if _has(node, bias) else "sum = Identity(both)"]


def _skip_layer_normalization(node: ir.Node, ranks: Ranks, opset: int) -> _Body:
    beta = ", i3" if _has(node, 3) else ""
    epsilon = _number(node, "epsilon", 1e-5)
    normalized = f"y, mean, deviation = LayerNormalization<axis = -1, epsilon = {epsilon:.12f}>(sum, i2{beta})"
    return ("y", "mean", "deviation", "sum"), [*_summed(node, 4), normalized]


def _skip_rms_normalization(node: ir.Node, ranks: Ranks, opset: int) -> _Body:
    lines = [
        *_summed(node, 3),
        f"epsilon = Constant<value = float {{{_number(node, 'epsilon', 1e-5):.12f}}}>()",
        "axes = Constant<value = int64[1] {-1}>()",
        "square = Mul(sum, sum)",
        f"mean = {_reduced('ReduceMean', 'square', opset)}",
        "raised = Add(mean, epsilon)",
        "root = Sqrt(raised)",
        "normal = Div(sum, root)",
        "y = Mul(normal, i2)",
    ]
    return ("y", "mean", "root", "sum"), lines


def _reduced(op: str, value: str, opset: int) -> str:
    return f"{op}({value}, axes)" if opset >= 18 else f"{op}<axes = [-1]>({value})"


def _embed_layer_normalization(node: ir.Node, ranks: Ranks, opset: int) -> _Body | None:
    """Tables, of which nothing is wanted here; what it returns depends on no other weight."""
    if len(node.outputs) > 2 or _has(node, 7):
        return None
    lines = ["words = Gather(i2, i0)"]
    if _has(node, 8):
        lines.append("positions = Gather(i3, i8)")
    else:
        lines += [
            "length = Shape<start = 1, end = 2>(i0)",
            "zero = Constant<value = int64[1] {0}>()",
            "positions = Slice(i3, zero, length, zero)",
        ]
    lines.append("placed = Add(words, positions)")
    lines += ["kinds = Gather(i4, i1)", "all = Add(placed, kinds)"] if _has(node, 4) else ["all = Identity(placed)"]
    lines.append(f"y = LayerNormalization<axis = -1, epsilon = {_number(node, 'epsilon', 1e-12):.14f}>(all, i5, i6)")
    lines += [
        "sequences = Shape<start = 0, end = 1>(i0)",
        "none = ConstantOfShape<value = int32[1] {0}>(sequences)",
    ]
    return ("y", "none"), lines


def _attention(node: ir.Node, ranks: Ranks, opset: int) -> _Body | None:
    if any(_has(node, index) for index in (4, 6)) or len(node.outputs) > 1 or int_attribute(node, "do_rotary"):
        return None
    lines = ["product = MatMul(i0, i1)", f"all = {'Add(product, i2)' if _has(node, 2) else 'Identity(product)'}"]
    sizes = node.attributes.get("qkv_hidden_sizes")
    if sizes is not None:
        listed = ", ".join(map(str, sizes.as_ints()))
        lines += [f"sizes = Constant<value = int64[3] {{{listed}}}>()", "q, k, v = Split<axis = -1>(all, sizes)"]
    else:
        lines.append(f"q, k, v = {_in_parts('all', opset)}")
    core = _core(node, (3, ranks[3] if len(ranks) > 3 else None), 5)
    return None if core is None else (("y",), [*lines, *core])


def _multi_head_attention(node: ir.Node, ranks: Ranks, opset: int) -> _Body | None:
    if any(rank != 3 for rank in ranks[:3]) or len(ranks) < 3 or any(_has(node, index) for index in (6, 7, 8, 9)):
        return None
    if len(node.outputs) > 1:
        return None
    lines = [f"bq, bk, bv = {_in_parts('i3', opset)}"] if _has(node, 3) else []
    for index, name in enumerate("qkv"):
        lines.append(f"{name} = {f'Add(i{index}, b{name})' if lines and _has(node, 3) else f'Identity(i{index})'}")
    core = _core(node, (4, ranks[4] if len(ranks) > 4 else None), 5)
    return None if core is None else (("y",), [*lines, *core])


def _in_parts(value: str, opset: int) -> str:
    return f"Split<axis = -1{', num_outputs = 3' if opset >= 18 else ''}>({value})"


def _core(node: ir.Node, mask: tuple[int, int | None], bias: int) -> list[str] | None:
    """Return softmax(q · kᵀ · scale + masks + bias) · v, given q, k and v with their heads side by side."""
    heads = int_attribute(node, "num_heads")
    lines = [f"split = Constant<value = int64[4] {{0, 0, {heads}, -1}}>()"]
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        lines += [f"{name}s = Reshape({name}, split)", f"{name}h = Transpose<perm = {order}>({name}s)"]
    lines.append("products = MatMul(qh, kh)")
    if _number(node, "scale", 0.0):
        lines += [
            f"scale = Constant<value = float {{{_number(node, 'scale', 0.0):.10f}}}>()",
            "scores0 = Mul(products, scale)",
        ]
    else:
        lines += ["width = Shape<start = -1>(qh)", "wide = CastLike(width, products)", "root = Sqrt(wide)"]
        lines.append("scores0 = Div(products, root)")
    masked = _masks(node, *mask)
    if masked is None:
        return None
    lines += masked
    scores = "masked" if masked else "scores0"
    if int_attribute(node, "unidirectional"):
        lines += [
            f"pair = Shape<start = -2>({scores})",
            f"low = ConstantOfShape<value = float[1] {{{_number(node, 'mask_filter_value', _MASKED):.1f}}}>(pair)",
            "one = Constant<value = int64 {1}>()",
            "later = Trilu<upper = 1>(low, one)",
            f"causal = Add({scores}, later)",
        ]
        scores = "causal"
    lines.append(f"biased = {f'Add({scores}, i{bias})' if _has(node, bias) else f'Identity({scores})'}")
    return [
        *lines,
        "probabilities = Softmax<axis = -1>(biased)",
        "context = MatMul(probabilities, vh)",
        "turned = Transpose<perm = [0, 2, 1, 3]>(context)",
        "joined = Constant<value = int64[3] {0, 0, -1}>()",
        "y = Reshape(turned, joined)",
    ]


def _masks(node: ir.Node, index: int, rank: int | None) -> list[str] | None:
    """Return what adds the mask to scores0; nothing without one, None for a kind of mask that is not covered."""
    if rank is None or not _has(node, index):
        return []
    axes = {1: "1, 2", 2: "1, 2", 3: "1"}.get(rank)
    if axes is None:
        return None
    lines = [f"shown0 = Cast<to = 1>(i{index})"]
    if rank == 1:  # lengths
        lines = [
            "first = Constant<value = int64 {0}>()",
            "step = Constant<value = int64 {1}>()",
            "behind = Constant<value = int64[1] {-1}>()",
            "tokens1 = Shape<start = -1>(scores0)",
            "tokens = Squeeze(tokens1)",
            "places = Range(first, tokens, step)",
            f"lengths0 = Cast<to = 7>(i{index})",
            "lengths = Unsqueeze(lengths0, behind)",
            "before = Less(places, lengths)",
            "shown0 = Cast<to = 1>(before)",
        ]
    count = axes.count(",") + 1
    return [
        *lines,
        f"mask_axes = Constant<value = int64[{count}] {{{axes}}}>()",
        "shown = Unsqueeze(shown0, mask_axes)",
        "all_shown = Constant<value = float {1}>()",
        "hidden = Sub(all_shown, shown)",
        f"filter = Constant<value = float {{{_number(node, 'mask_filter_value', _MASKED):.1f}}}>()",
        "filtered = Mul(hidden, filter)",
        "masked = Add(scores0, filtered)",
    ]


def _gemm(node: ir.Node, ranks: Ranks, opset: int) -> _Body | None:
    """FusedGemm: a Gemm, and the activation that its attribute names, if that takes no parameters."""
    attribute = node.attributes.get("activation")
    activation = "Identity" if attribute is None else attribute.as_string()
    if any(name.startswith("activation_") for name in node.attributes):
        return None
    bias = ", i2" if _has(node, 2) else ""
    numbers = ", ".join(
        [f"{name} = {_number(node, name, 1.0):.8f}" for name in ("alpha", "beta")]
        + [f"{name} = {int_attribute(node, name)}" for name in ("transA", "transB")]
    )
    return ("y",), [f"h = Gemm<{numbers}>(i0, i1{bias})", f"y = {activation}(h)"]


FUSED_BODIES: dict[str, Callable[[ir.Node, Ranks, int], _Body | None]] = {
    "com.microsoft.Attention": _attention,
    "com.microsoft.EmbedLayerNormalization": _embed_layer_normalization,
    "com.microsoft.FusedGemm": _gemm,
    "com.microsoft.MultiHeadAttention": _multi_head_attention,
    "com.microsoft.SkipLayerNormalization": _skip_layer_normalization,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_rms_normalization,
}
