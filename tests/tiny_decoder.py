"""A tiny decoder that keeps its keys and values: two layers, heads that are shared, with rotary positions or learned ones.

Inputs and outputs are called as optimum calls them. Spellings: ``shapes`` asks for the sizes of repeated keys as TorchScript
exports do, ``numbers`` has them as constants, ``gather`` repeats by a Gather.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from tests.graph.tiny_graphs import tiny_model
from tests.text_models import SPECIAL, write_tokenizer
from tests.tiny_encoder import WORDS

LAYERS, HIDDEN, HEADS, GROUPS, WIDTH, INNER = 2, 32, 4, 2, 8, 48
VOCABULARY, POSITIONS = len(SPECIAL) + len(WORDS), 40

REPEATS = {
    "shapes": """
        {0}s = Shape({1}) {0}b = Gather({0}s, i0) {0}g = Gather({0}s, i1) {0}t = Gather({0}s, i2) {0}w = Gather({0}s, i3)
        {0}e = Concat<axis = 0>({0}b, {0}g, two, {0}t, {0}w) {0}5 = Unsqueeze({1}, two) {0}x = Expand({0}5, {0}e)
        {0}h = Mul({0}g, two) {0}j = Concat<axis = 0>({0}b, {0}h, {0}t, {0}w) {0}r = Reshape({0}x, {0}j)""",
    "numbers": """
        {0}5 = Unsqueeze({1}, two) {0}x = Expand({0}5, twice)
        {0}b = Shape<start = 0, end = 1>({1}) {0}j = Concat<axis = 0>({0}b, all_heads) {0}r = Reshape({0}x, {0}j)""",
    "gather": "{0}r = Gather<axis = 1>({1}, shared)",
}
ROTATED = """
    {0}a = Slice({0}, zero, half, three) {0}c = Slice({0}, half, whole, three) {0}n = Neg({0}c)
    {0}o = Concat<axis = -1>({0}n, {0}a) {0}y = Mul({0}, cos) {0}z = Mul({0}o, sin) {0}p = Add({0}y, {0}z)"""

LAYER = """
    q{0}m = MatMul(h{0}, Q{0}) q{0}i = Reshape(q{0}m, split_q) q{0} = Transpose<perm = [0, 2, 1, 3]>(q{0}i)
    k{0}m = MatMul(h{0}, K{0}) k{0}i = Reshape(k{0}m, split) k{0} = Transpose<perm = [0, 2, 1, 3]>(k{0}i)
    v{0}m = MatMul(h{0}, V{0}) v{0}i = Reshape(v{0}m, split) v{0} = Transpose<perm = [0, 2, 1, 3]>(v{0}i)
    {turn}
    keys{0} = Concat<axis = -2>(past_key{0}, k{0}p) values{0} = Concat<axis = 2>(past_value{0}, v{0})
    {repeat}
    kt{0} = Transpose<perm = [0, 1, 3, 2]>(K{0}r) s{0} = MatMul(q{0}p, kt{0}) t{0} = Mul(s{0}, scale)
    total{0} = Shape<start = 2, end = 3>(keys{0}) cut{0} = Slice(mask, zero, total{0}, three)
    l{0} = Add(t{0}, cut{0}) p{0} = Softmax(l{0}) c{0} = MatMul(p{0}, V{0}r)
    d{0} = Transpose<perm = [0, 2, 1, 3]>(c{0}) e{0} = Reshape(d{0}, joined) o{0} = MatMul(e{0}, O{0}) r{0} = Add(h{0}, o{0})
    u{0} = MatMul(r{0}, U{0}) a{0} = Relu(u{0}) f{0} = MatMul(a{0}, D{0}) h{1} = Add(r{0}, f{0})"""

CACHES = [(layer, part) for layer in range(LAYERS) for part in ("key", "value")]


def decoder(*, rotary: bool = True, repeat: str = "shapes") -> ir.Model:
    """Return the decoder; its weights do not depend on how it is spelled."""
    held = ", ".join(f"float[B,{GROUPS},P,{WIDTH}] past_{part}{layer}" for layer, part in CACHES)
    shown = ", ".join(f"float[B,{GROUPS},T,{WIDTH}] {part}s{layer}" for layer, part in CACHES)
    layers = ""
    for layer in range(LAYERS):
        plain = "{0}p = Identity({0})"
        turn = "".join((ROTATED if rotary else plain).format(f"{part}{layer}") for part in "qk")
        repeats = "".join(
            REPEATS[repeat].format(f"{part}{layer}", f"{name}s{layer}") for part, name in (("K", "key"), ("V", "value"))
        )
        layers += LAYER.format(layer, layer + 1, turn=turn, repeat=repeats)
    start = (
        """cos0 = Gather(cosines, position_ids) cos = Unsqueeze(cos0, one)
        sin0 = Gather(sines, position_ids) sin = Unsqueeze(sin0, one) h0 = Gather(E, input_ids)"""
        if rotary
        else "w0 = Gather(E, input_ids) w1 = Gather(P, position_ids) h0 = Add(w0, w1)"
    )
    text = f"""
        g (int64[B,S] input_ids, int64[B,T] attention_mask, int64[B,S] position_ids, {held})
            => (float[B,S,{VOCABULARY}] logits, {shown}) {{
            past = Shape<start = 2, end = 3>(past_key0) new = Shape<start = 1, end = 2>(input_ids) both = Add(past, new)
            first = Squeeze(past, zero) last = Squeeze(both, zero)
            rows0 = Range(first, last, number) rows = Unsqueeze(rows0, one)
            columns0 = Range(nothing, last, number) columns = Unsqueeze(columns0, zero)
            seen0 = LessOrEqual(columns, rows) read0 = Cast<to = 9>(attention_mask) read = Unsqueeze(read0, one_two)
            seen = And(seen0, read) mask = Where(seen, no, far)
            {start} {layers}
            logits = MatMul(h{LAYERS}, H)
        }}"""
    known = _constants()
    words = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    model = tiny_model(text, **{name: value for name, value in known.items() if name in words})
    for layer, part in CACHES:
        values = {str(value.name): value for value in (*model.graph.inputs, *model.graph.outputs)}
        values[f"past_{part}{layer}"].name = f"past_key_values.{layer}.{part}"
        values[f"{part}s{layer}"].name = f"present.{layer}.{part}"
    return model


def _constants() -> dict[str, Any]:
    random = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        left, values, right = np.linalg.svd(random.standard_normal(shape), full_matrices=False)
        falling = values * np.linspace(1, 0.1, len(values)) ** 2
        found: np.ndarray = ((left * falling) @ right / np.sqrt(shape[0])).astype(np.float32)
        return found

    angles = np.arange(POSITIONS)[:, None] * np.tile([1.0, 0.3, 0.1, 0.03], 2)
    weights = {"E": random.standard_normal((VOCABULARY, HIDDEN)).astype(np.float32), "H": weight(HIDDEN, VOCABULARY)}
    for layer in range(LAYERS):
        sizes = {"Q": (HIDDEN, HEADS * WIDTH), "O": (HEADS * WIDTH, HIDDEN), "U": (HIDDEN, INNER), "D": (INNER, HIDDEN)}
        sizes |= {"K": (HIDDEN, GROUPS * WIDTH), "V": (HIDDEN, GROUPS * WIDTH)}
        weights |= {f"{name}{layer}": weight(*shape) for name, shape in sizes.items()}
    return {
        **weights,
        "P": 0.5 * random.standard_normal((POSITIONS, HIDDEN)).astype(np.float32),
        "cosines": np.cos(angles).astype(np.float32),
        "sines": np.sin(angles).astype(np.float32),
        **{f"i{axis}": np.array([axis]) for axis in range(4)},
        **{name: np.array([size]) for name, size in (("zero", 0), ("one", 1), ("two", 2), ("three", 3))},
        "half": np.array([WIDTH // 2]),
        "whole": np.array([WIDTH]),
        "one_two": np.array([1, 2]),
        "nothing": np.int64(0),
        "number": np.int64(1),
        "no": np.float32(0),
        "far": np.float32(-1e9),
        "scale": np.float32(WIDTH**-0.5),
        "split_q": np.array([0, 0, HEADS, WIDTH]),
        "split": np.array([0, 0, GROUPS, WIDTH]),
        "joined": np.array([0, 0, HEADS * WIDTH]),
        "twice": np.array([1, 1, HEADS // GROUPS, 1, 1]),
        "all_heads": np.array([HEADS, -1, WIDTH]),
        "shared": np.arange(HEADS) // (HEADS // GROUPS),
    }


def write_decoder(folder: Path, model: ir.Model) -> None:
    """Write ``model`` with a tokenizer and what config.json says of a Llama."""
    write_tokenizer(folder, WORDS)
    ir.save(model, folder / "model.onnx")
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "head_dim": WIDTH,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    genai = {"model": {"decoder": {"head_size": WIDTH, "num_key_value_heads": GROUPS}, "type": "llama"}}
    (folder / "genai_config.json").write_text(json.dumps(genai))


class Decoding:
    """Runs a decoder of the `decoder` kind step by step, as whoever reads the shapes of its inputs does."""

    def __init__(self, model: ir.Model | Path) -> None:
        content = str(model) if isinstance(model, Path) else ir.to_proto(model).SerializeToString()
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._caches = [each for each in self._session.get_inputs() if each.name.startswith("past")]

    def logits(self, ids: np.ndarray, *steps: int) -> np.ndarray:
        """Return the logits of all tokens, read in so many ``steps`` after each other."""
        held = [np.zeros((len(ids), each.shape[1], 0, each.shape[3]), np.float32) for each in self._caches]
        found, start = [], 0
        for size in steps:
            end = start + size
            feeds = {
                "input_ids": ids[:, start:end],
                "attention_mask": np.ones((len(ids), end), np.int64),
                "position_ids": np.tile(np.arange(start, end), (len(ids), 1)),
                **{each.name: array for each, array in zip(self._caches, held, strict=True)},
            }
            logits, *held = self._session.run(None, feeds)
            found.append(logits)
            start = end
        return np.concatenate(found, axis=1)
