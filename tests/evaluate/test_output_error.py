"""How far outputs move: which numbers of an output make a row."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.embedding import Embedding, Pooling
from squeeze_onnx.evaluate.answer_heads import TokenEmbeddings
from squeeze_onnx.evaluate.output_error import OutputErrorMeter
from squeeze_onnx.runtime.sessions import open_session

STILL = {"shift": np.zeros((1, 1), np.float32)}


def meter(path: Path, last: int | str, lengths: tuple[int, ...]) -> OutputErrorMeter:
    """Return the meter of y = x + shift, whose last axis is ``last``, on batches (2, length) that end with padding."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "shift"], ["y"])],
        "shifted",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", last]),
            helper.make_tensor_value_info("shift", TensorProto.FLOAT, [1, "any"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", last])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return OutputErrorMeter(open_session(path), [batch(length) for length in lengths], STILL)


def batch(length: int) -> CalibrationBatch:
    mask = np.ones((2, length), np.int64)
    mask[:, -1] = 0
    values = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    return CalibrationBatch({"x": np.where(mask == 1, values, 100).astype(np.float32)}, mask)


def test_one_number_a_token_has_a_row_a_token_and_padding_has_none(tmp_path: Path) -> None:
    moved = meter(tmp_path / "model.onnx", "tokens", (3, 4)).output_error({"shift": np.full((1, 1), 2, np.float32)})
    text = np.concatenate([batch(length).feeds["x"][:, :-1].ravel() for length in (3, 4)]).astype(np.float64)
    assert moved == pytest.approx(4 * text.size / np.square(text - text.mean()).sum(), rel=1e-6)


def test_as_many_classes_as_tokens_stay_classes(tmp_path: Path) -> None:
    shift = np.array([[0, 0, 2]], np.float32)
    moved = meter(tmp_path / "model.onnx", 3, (3, 3)).output_error({"shift": shift})
    classes = np.concatenate([batch(3).feeds["x"]] * 2).astype(np.float64)
    assert moved == pytest.approx(4 * len(classes) / np.square(classes - classes.mean(axis=0)).sum(), rel=1e-6)


def test_of_embeddings_it_is_these_that_move(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens", 2]) for name in ("x", "y")]
    values.append(helper.make_tensor_value_info("shift", TensorProto.FLOAT, [1, "tokens", 1]))
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "shift"], ["y"])], "shifted", [values[0], values[2]], [values[1]]
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    tokens = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(np.float32)
    data = [CalibrationBatch({"x": tokens}, np.ones((2, 3), np.int64))]
    last_only = {"shift": np.array([[[0], [0], [2]]], np.float32)}
    still = {"shift": np.zeros((1, 3, 1), np.float32)}

    def moved(head: TokenEmbeddings | None) -> float:
        return OutputErrorMeter(open_session(path), data, still, head).output_error(last_only)

    last = tokens[:, -1].astype(np.float64)
    assert moved(TokenEmbeddings("y", Embedding((Pooling.CLS,)))) == 0
    assert moved(TokenEmbeddings("y", Embedding((Pooling.LAST,)))) == pytest.approx(
        4 * last.size / np.square(last - last.mean(axis=0)).sum(), rel=1e-6
    )
    assert moved(None) == moved(TokenEmbeddings("y")) == moved(TokenEmbeddings("other"))
