"""A graph in memory, open: what messages call it, and what a block says of threads."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import SessionSettings, session_threads
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.given_names import called
from tests.tiny_encoder import write_model_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("models") / "mine", layers=1)


def broken(folder: Path) -> ir.Model:
    """Return the model in ``folder`` with a product that nothing can compute."""
    model = load_model(folder).ir
    node = next(node for node in model.graph if node.op_type == "MatMul")
    node.replace_input_with(1, node.inputs[0])
    return model


def test_a_model_that_cannot_be_run_is_named_by_its_file(folder: Path) -> None:
    feeds = {name: np.ones((2, 3), np.int64) for name in ("input_ids", "attention_mask")}
    with pytest.raises(ModelError) as caught:
        open_graph(broken(folder), part="a part").run(None, feeds)
    assert f"a part of {folder / 'model.onnx'} " in str(caught.value)


def test_a_model_that_has_no_file_is_named_in_words(folder: Path) -> None:
    """Where it was written to be run is nowhere named, nor where it lay before."""
    model = broken(folder)
    with pytest.raises(ModelError) as caught, called("the model in memory", folder):
        open_graph(model).run(None, {})
    assert str(caught.value).startswith("the model in memory does not run on cpu: ")


def test_threads_of_a_block_are_those_of_its_sessions(folder: Path) -> None:
    model = load_model(folder).ir
    with session_threads(1):
        assert open_graph(model).ort.get_session_options().intra_op_num_threads == 1
        with session_threads(None):
            assert open_graph(model).ort.get_session_options().intra_op_num_threads == 1
        assert (
            open_graph(model, settings=SessionSettings(threads=2)).ort.get_session_options().intra_op_num_threads == 2
        )
    assert open_graph(model).ort.get_session_options().intra_op_num_threads == 0


def test_a_block_without_threads_is_refused() -> None:
    with pytest.raises(OptionError, match="`threads` is a positive integer; got 0"), session_threads(0):
        pass
