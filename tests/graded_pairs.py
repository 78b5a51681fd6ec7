"""STS-B splits for the tiny encoder: the scores are the encoder's own, so that it ranks perfectly before it is squeezed.

What squeezing costs then shows as a smooth drop of the rank correlation, and the closer the scores of a split lie, the more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.model_config import read_model_config
from squeeze_onnx.data.readers import LabelledRows, Texts
from squeeze_onnx.data.tasks import TRAIN
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.evaluator import Predictor
from tests.tiny_encoder import WORDS


@dataclass(frozen=True)
class GradedPair:
    """Two sentences and the cosine of their embeddings."""

    texts: Texts
    cosine: float

    @property
    def row(self) -> str:
        """The line of a TSV file, the score from 0 to 5."""
        return "\t".join([*self.texts, repr(2.5 * (1 + self.cosine))])


def graded_pairs(model: Path, count: int) -> list[GradedPair]:
    """Return ``count`` pairs as the encoder in the folder ``model`` sees them, least alike first; no sentence comes twice."""
    words = np.random.default_rng(0).permuted(np.tile(WORDS, (2 * count, 1)), axis=1)
    sentences = [" ".join(row[:6]) for row in words]
    texts = tuple(zip(sentences[0::2], sentences[1::2], strict=True))
    settings = read_model_config(model)
    predictor = Predictor(TASKS["stsb"], settings, load_text_encoder(model, settings))
    rows = LabelledRows(TRAIN, texts, np.zeros(count))
    cosines = predictor.predictions(model / "model.onnx", "encoder", rows)
    return [GradedPair(texts[index], float(cosines[index])) for index in np.argsort(cosines)]


def write_split(data: Path, name: str, pairs: Sequence[GradedPair]) -> None:
    """Write ``pairs`` as the split ``name`` of STS-B in the folder ``data``."""
    (data / "STS-B").mkdir(parents=True, exist_ok=True)
    lines = ["sentence1\tsentence2\tlabel", *(pair.row for pair in pairs)]
    (data / "STS-B" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
