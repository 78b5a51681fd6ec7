"""Weights that were written several times: found by their bits, and stored once if they are used alike."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.match.copies import Copies, count_copies, equal_sites
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.copies import store_once
from squeeze_onnx.runtime.sessions import open_session
from tests.tiny_encoder import encoder_model

LAYERS = 3


def weights_of(proto: onnx.ModelProto) -> Mapping[str, onnx.TensorProto]:
    """Return the matrices that layers multiply by, by name."""
    read = {node.input[1] for node in proto.graph.node if node.op_type == "MatMul"}
    return {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in read}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model whose layers have the weights of the first one, once a layer."""
    proto = encoder_model(layers=LAYERS)
    first: dict[tuple[str, tuple[int, ...]], onnx.TensorProto] = {}
    for name, tensor in weights_of(proto).items():
        kind = "".join(letter for letter in name if not letter.isdigit())
        tensor.raw_data = first.setdefault((kind, tuple(tensor.dims)), tensor).raw_data
    path = tmp_path_factory.mktemp("shared") / "model.onnx"
    onnx.save(proto, path)
    return path


def answers(path: Path) -> list[np.ndarray]:
    feeds = {
        name: np.arange(1, 13).reshape(2, 6) if "ids" in name else np.ones((2, 6), np.int64) for name in inputs(path)
    }
    return open_session(path).run(None, {name: array.astype(np.int64) for name, array in feeds.items()})


def inputs(path: Path) -> list[str]:
    return [value.name for value in open_session(path).inputs]


def test_copies_become_one_site_and_nothing_else_changes(shared: Path, tmp_path: Path) -> None:
    model = load_model(shared).ir
    before = find_sites(model).sites
    counted = count_copies(model)
    gone = store_once(model)
    after = find_sites(model).sites
    layer = [site for site in after if site.layer is not None]
    assert gone == len(before) - len(after) == (LAYERS - 1) * len(layer) > 0
    assert {len(site.nodes) for site in layer} == {LAYERS}
    assert counted == Copies(sum(4 * site.parameters for site in layer) * (LAYERS - 1), gone)
    assert count_copies(model) == Copies(0, 0)
    save_model(model, tmp_path / "once.onnx")
    assert (tmp_path / "once.onnx").stat().st_size < shared.stat().st_size - 0.9 * counted.bytes
    for one, other in zip(answers(shared), answers(tmp_path / "once.onnx"), strict=True):
        np.testing.assert_array_equal(one, other)


def with_products(*weights: np.ndarray, constants: bool = False) -> ir.Model:
    """Return x ─► MatMul ─► … of these ``weights``, as initializers or Constant nodes."""
    nodes, stored, name = [], [], "x"
    for number, weight in enumerate(weights):
        tensor = numpy_helper.from_array(weight, f"w{number}")
        if constants:
            nodes.append(onnx.helper.make_node("Constant", [], [f"w{number}"], value=tensor))
        else:
            stored.append(tensor)
        nodes.append(onnx.helper.make_node("MatMul", [name, f"w{number}"], [f"y{number}"], name=f"m{number}"))
        name = f"y{number}"
    kind = onnx.helper.np_dtype_to_tensor_dtype(weights[0].dtype)
    ends = [onnx.helper.make_tensor_value_info(each, kind, ["n", len(weights[0])]) for each in ("x", name)]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    model: ir.Model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]))
    return model


def random(seed: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((32, 32)).astype(dtype)


@pytest.mark.parametrize(
    ("model", "left"),
    [
        pytest.param(with_products(random(1), random(2), random(1)), 2, id="equal ones become one"),
        pytest.param(with_products(random(1), random(1), constants=True), 1, id="in Constant nodes too"),
        pytest.param(with_products(random(1, np.float16), random(1, np.float16)), 1, id="in float16 too"),
        pytest.param(with_products(random(1), random(1).T.copy()), 2, id="a transposed copy is another"),
        pytest.param(with_products(random(1), np.nextafter(random(1), np.float32(9))), 2, id="all bits count"),
        pytest.param(with_products(*[np.zeros((32, 32), np.float32)] * 2), 2, id="zeros may part"),
    ],
)
def test_which_weights_are_one(model: ir.Model, left: int) -> None:
    store_once(model)
    assert len(find_sites(model).sites) == left
    assert list(equal_sites(model)) == []
