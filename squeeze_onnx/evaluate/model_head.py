"""The head of a model that was loaded from a file, without a task in mind."""

from squeeze_onnx.data.model_config import read_model_config
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.evaluate.heads import Head
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.runtime.sessions import open_session


def head_of(model: OnnxModel) -> Head:
    """Return how the model in the file that ``model`` was loaded from answers; ModelError if nothing is known of that."""
    return choose_head(open_session(model.path), read_model_config(model.folder), None)
