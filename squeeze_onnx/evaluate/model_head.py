"""The head of a model that was loaded from a file, without a task in mind."""

from squeeze_onnx.data.embedding_files import NOTHING_ASKED, EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.runtime.sessions import open_session


def head_of(model: OnnxModel, asked: EmbeddingOptions = NOTHING_ASKED) -> Head:
    """Return how the model in the file that ``model`` was loaded from answers.

    Raises ModelError if nothing is known of that, RepositoryError and OptionError as `choose_head` does.
    """
    return choose_head(open_session(model.path), read_settings(model.path, asked), None)
