"""What ONNX Runtime's quantizers write becomes the float graph again, with the weights as they were rounded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import optimizer

from squeeze_onnx.compress.precision.base import Evidence
from squeeze_onnx.compress.precision.int4 import Int4
from squeeze_onnx.graph.io.external_data import external_files
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.quantized.dequantizing import dequantize
from tests.graph.execution import run
from tests.graph.tiny_graphs import operators, random_weight, tiny_model
from tests.tiny_encoder import ELIGIBLE_SITES, HEADS, HIDDEN, batch, encoder_model

W = random_weight(4, 6)
INT8 = np.random.default_rng(1).integers(-128, 128, (4, 6)).astype(np.int8)
STEPS = np.linspace(0.01, 0.06, 6).astype(np.float32)
ZEROS = np.arange(-3, 3).astype(np.int8)
DECODED = (INT8.astype(np.float32) - ZEROS) * STEPS
X = random_weight(3, 4, seed=2)


class OneBatch(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._batches = iter([batch()])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def dynamic(source: Path, target: Path, **options: Any) -> None:
    untyped = {"DefaultTensorType": onnx.TensorProto.FLOAT}
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, extra_options=untyped, **options)


def static(source: Path, target: Path, **options: Any) -> None:
    quantize_static(source, target, OneBatch(), **options)


def in_blocks(source: Path, target: Path, **options: Any) -> None:
    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, **options)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target))


def fused(source: Path, target: Path) -> None:
    made = optimizer.optimize_model(str(source), model_type="bert", num_heads=HEADS, hidden_size=HIDDEN, opt_level=0)
    made.save_model_to_file(str(target))


def offline(source: Path, target: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def after(*steps: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    def do_all(source: Path, target: Path) -> None:
        for number, step in enumerate(steps):
            last = step is steps[-1]
            between = target if last else target.with_suffix(f".{number}.onnx")
            step(source, between)
            source = between

    return do_all


@pytest.mark.parametrize(
    ("quantize", "tolerance"),
    [
        pytest.param(dynamic, 0.05, id="dynamic int8"),
        pytest.param(partial(dynamic, per_channel=True), 0.05, id="dynamic int8 by channel"),
        pytest.param(after(dynamic, offline), 0.05, id="dynamic int8, optimized by ONNX Runtime"),
        pytest.param(after(fused, dynamic), 0.05, id="QAttention"),
        pytest.param(static, 0.05, id="QDQ"),
        pytest.param(partial(static, per_channel=True), 0.05, id="QDQ by channel"),
        pytest.param(in_blocks, 0.2, id="MatMulNBits"),
        pytest.param(partial(in_blocks, is_symmetric=True, bits=8), 0.05, id="MatMulNBits of eight bits"),
    ],
)
def test_a_quantized_encoder_is_a_float_one_again(
    tmp_path: Path, quantize: Callable[[Path, Path], None], tolerance: float
) -> None:
    """What is left of the rounding is that of the weights."""
    onnx.save(encoder_model(), tmp_path / "float.onnx")
    quantize(tmp_path / "float.onnx", tmp_path / "quantized.onnx")
    (expected,) = run(load_model(tmp_path / "float.onnx").ir, batch())
    model = load_model(tmp_path / "quantized.onnx")
    dequantize(model.ir)
    save_model(model.ir, tmp_path / "again.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "again.onnx"))
    (found,) = run(model.ir, batch())
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)
    sites = [site for site in find_sites(model.ir).sites if site.layer is not None]
    assert sorted(str(site.role) for site in sites) == sorted(name.split("/")[1] for name in ELIGIBLE_SITES)


def test_a_float_model_stays_as_it_is(tmp_path: Path) -> None:
    onnx.save(encoder_model(), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    before = ir.to_proto(model.ir).SerializeToString(deterministic=True)
    dequantize(model.ir)
    assert ir.to_proto(model.ir).SerializeToString(deterministic=True) == before


def test_twice_is_once(tmp_path: Path) -> None:
    onnx.save(encoder_model(), tmp_path / "float.onnx")
    dynamic(tmp_path / "float.onnx", tmp_path / "quantized.onnx")
    model = load_model(tmp_path / "quantized.onnx").ir
    dequantize(model)
    once = [(node.name, node.op_type) for node in model.graph]
    dequantize(model)
    assert [(node.name, node.op_type) for node in model.graph] == once
    assert [name for name, _ in once if str(name).startswith("layer.0/query")] == ["layer.0/query"]


def dequantized(graph: str, **constants: Any) -> ir.Model:
    model = tiny_model(graph, **constants)
    dequantize(model)
    onnx.checker.check_model(ir.to_proto(model))
    return model


class TestProducts:
    def test_a_weight_is_what_its_integers_stand_for(self) -> None:
        model = dequantized(
            "g (float[B,4] x) => (float[B,6] y) { [n] y = com.microsoft.DynamicQuantizeMatMul(x, Q, s, z, c) }",
            **{"Q": INT8, "s": STEPS, "z": ZEROS, "c": STEPS},
        )
        assert operators(model) == ["MatMul", "Add"]
        np.testing.assert_allclose(run(model, {"x": X})[0], X @ DECODED + STEPS, rtol=1e-5)

    def test_integers_that_came_from_elsewhere_are_decoded_on_the_way_in(self) -> None:
        model = dequantized(
            "g (uint8[B,4] q) => (float[B,6] y) { [n] y = com.microsoft.MatMulIntegerToFloat(q, Q, r, s, o, z) }",
            **{"Q": INT8, "r": np.float32(0.5), "s": STEPS, "o": np.uint8(7), "z": ZEROS},
        )
        assert operators(model) == ["DequantizeLinear", "MatMul"]
        rows = np.array([[0, 7, 9, 255]], np.uint8)
        np.testing.assert_allclose(run(model, {"q": rows})[0], 0.5 * (rows - 7.0) @ DECODED, rtol=1e-5)

    @pytest.mark.parametrize(
        "graph",
        [
            "g (int8[B,4] q) => (int32[B,6] y) { y = MatMulInteger(q, Q) }",
            "g (float[B,4] x, int8[4,6] Q) => (float[B,6] y) { y = com.microsoft.DynamicQuantizeMatMul(x, Q, s) }",
            "g (float[B,4] x, float[6] s) => (float[B,6] y) { y = com.microsoft.DynamicQuantizeMatMul(x, Q, s) }",
            "g (float[B,4] x, int8[6] z) => (float[B,6] y) { y = com.microsoft.DynamicQuantizeMatMul(x, Q, s, z) }",
            "g (float[B,4] x) => (int32[B,6] y) { q, r, o = DynamicQuantizeLinear(x)\n y = MatMulInteger(q, Q, o) }",
        ],
        ids=["rows of integers", "no constant", "no constant scale", "no constant zero point", "an integer output"],
    )
    def test_others_stay(self, graph: str) -> None:
        model = tiny_model(graph, Q=INT8, s=STEPS)
        before = operators(model)
        dequantize(model)
        assert operators(model) == before

    @pytest.mark.parametrize(
        ("attributes", "operands"),
        [(", weight_prepacked = 1", "x, Q, s"), ("", "x, Q, s, , i")],
        ids=["prepacked", "groups"],
    )
    def test_blocks_in_another_order_stay(self, attributes: str, operands: str) -> None:
        node = f"com.microsoft.MatMulNBits <K = 16, N = 6, bits = 4, block_size = 16{attributes}> ({operands})"
        constants: dict[str, Any] = {"Q": np.zeros((6, 1, 8), np.uint8), "s": np.ones((6, 1), np.float32)}
        model = tiny_model(
            f"g (float[B,16] x) => (float[B,6] y) {{ y = {node} }}", i=np.zeros(16, np.int32), **constants
        )
        dequantize(model)
        assert operators(model) == ["MatMulNBits"]

    def test_an_attention_with_past_keys_stays(self) -> None:
        graph = """g (float[B,S,4] x, float[2,B,2,P,2] past) => (float[B,S,4] y, float[2,B,2,T,2] present) {
            q, r, o = DynamicQuantizeLinear(x)
            y, present = com.microsoft.QAttention <num_heads = 2> (q, Q, c, r, s, , o, , past)
        }"""
        model = tiny_model(graph, Q=np.tile(INT8, 2), c=np.zeros(12, np.float32), s=np.float32(0.1))
        dequantize(model)
        assert operators(model) == ["DynamicQuantizeLinear", "QAttention"]
        (skip,) = find_sites(model).skipped
        assert "stores its weight as integers; `dequantize` turns back" in skip.reason

    def test_a_bias_of_blocks_is_added(self) -> None:
        random = np.random.default_rng(0)
        packed, scales = random.integers(0, 256, (6, 1, 8)).astype(np.uint8), random.random((6, 1)).astype(np.float32)
        model = tiny_model(
            "g (float[B,16] x) => (float[B,6] y) "
            "{ y = com.microsoft.MatMulNBits <K = 16, N = 6, bits = 4, block_size = 16> (x, Q, s, , , c) }",
            Q=packed,
            s=scales,
            c=STEPS,
        )
        feeds = {"x": random_weight(3, 16)}
        expected = run(model, feeds)
        dequantize(model)
        assert operators(model) == ["MatMul", "Add"]
        np.testing.assert_allclose(run(model, feeds)[0], expected[0], rtol=1e-4, atol=1e-5)


class TestTables:
    def test_of_columns_with_a_scale_each(self) -> None:
        model = dequantized(
            "g (int64[S] ids) => (float[S,6] y) { r = Gather(Q, ids)\n y = DequantizeLinear <axis = -1> (r, s, z) }",
            **{"Q": INT8, "s": STEPS, "z": ZEROS},
        )
        assert operators(model) == ["Gather"]
        np.testing.assert_allclose(run(model, {"ids": np.array([2, 0])})[0], DECODED[[2, 0]], rtol=1e-6)

    def test_of_rows_in_blocks(self) -> None:
        """As `--precision int4` writes them."""
        model = tiny_model("g (int64[S] ids) => (float[S,32] y) { [t] y = Gather(T, ids) }", T=random_weight(9, 32))
        Int4().lower(model, Evidence())
        feeds = {"ids": np.array([8, 1, 1])}
        expected = run(model, feeds)
        assert operators(model) == ["GatherBlockQuantized"]
        dequantize(model)
        assert operators(model) == ["Gather"]
        np.testing.assert_allclose(run(model, feeds)[0], expected[0], rtol=1e-6)

    def test_that_are_looked_up_by_columns_stay(self) -> None:
        graph = "g (int64[S] ids) => (float[4,S] y) { r = Gather <axis = 1> (Q, ids)\n y = DequantizeLinear(r, s) }"
        model = dequantized(graph, Q=INT8, s=np.float32(0.5))
        assert operators(model) == ["Gather", "DequantizeLinear"]


class TestRounding:
    def rounded(self, zero_point: int, before: str = "x") -> ir.Model:
        links = f"a = Abs(x)\n q = QuantizeLinear({before}, s, z)\n y = DequantizeLinear(q, s, z)"
        graph = f"g (float[B,4] x) => (float[B,4] y) {{ {links} }}"
        return dequantized(graph, s=np.float32(0.01), z=np.uint8(zero_point))

    def test_is_taken_out(self) -> None:
        model = self.rounded(128)
        assert operators(model) == ["Identity"]
        np.testing.assert_array_equal(run(model, {"x": X})[0], X)

    def test_of_what_cannot_be_negative_leaves_nothing(self) -> None:
        assert operators(self.rounded(0, "a")) == ["Abs", "Identity"]

    def test_may_hide_a_relu_with_an_upper_limit(self) -> None:
        model = self.rounded(0)
        assert operators(model) == ["Relu", "Min", "Identity"]
        np.testing.assert_allclose(run(model, {"x": X})[0], np.clip(X, 0, 2.55), rtol=1e-6)

    @pytest.mark.parametrize(
        "link", ["QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, t, z)", "Cast <to = 2> (x)\n y = DequantizeLinear(q, s, z)"]
    )  # fmt: skip
    def test_to_other_steps_or_of_something_else_stays(self, link: str) -> None:
        graph = f"g (float[B,4] x) => (float[B,4] y) {{ q = {link} }}"
        model = dequantized(graph, s=np.float32(0.01), t=np.float32(0.02), z=np.uint8(0))
        assert operators(model)[-1] == "DequantizeLinear"

    def test_of_a_weight_that_many_read(self) -> None:
        graph = """g (float[B,4] x) => (float[B,6] y, float[B,6] v) {
            w = DequantizeLinear(Q, s, z)
            y = MatMul(x, w)
            v = Gemm(x, w)
        }"""
        model = dequantized(graph, Q=INT8, s=STEPS, z=ZEROS)
        assert operators(model) == ["MatMul", "Gemm"]
        for found in run(model, {"x": X}):
            np.testing.assert_allclose(found, X @ DECODED, rtol=1e-5)


def test_weights_in_data_files_are_read_when_they_are_used(tmp_path: Path) -> None:
    """And the file they come from is known: it is not to be overwritten, and another one makes another survey."""
    table = random_weight(400, 32)
    model = tiny_model("g (int64[S] ids) => (float[S,32] y) { [t] y = Gather(T, ids) }", T=table)
    Int4().lower(model, Evidence())
    save_model(model, tmp_path / "model.onnx", external_data=True)
    loaded = load_model(tmp_path / "model.onnx").ir
    dequantize(loaded)
    assert external_files(loaded) == (tmp_path / "model.onnx.data",)
