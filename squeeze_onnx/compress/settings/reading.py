"""How the answer of a model is read where no file beside it says so."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Reading(Part):
    """What is known of its output.

    pooling: how token embeddings become one where no file beside the model says it.
    prompt: what stands before every text: itself, or its name in config_sentence_transformers.json.
    answer: the output that is the answer, where a model has several; None to find it by names and shapes.
    """

    pooling: str | None = None
    prompt: str | None = None
    answer: str | None = None

    def check(self) -> None:
        """Raise OptionError for an unknown way of pooling."""
        _ = self.asked

    @property
    def asked(self) -> EmbeddingOptions:
        """What is said here of how the model's output is read."""
        return EmbeddingOptions(self.pooling, self.prompt, self.answer)
