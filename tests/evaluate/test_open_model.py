"""A model that is asked: the answers come in the order of the questions."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.runtime.sessions import open_session
from tests.tiny_encoder import CLASSES, WORDS, encoder_model, write_model_folder

TEXTS = [(" ".join(WORDS[start : start + length]),) for start, length in ((0, 5), (3, 1), (7, 4), (2, 1), (9, 2))]


@pytest.mark.parametrize(
    ("tagger", "answers"), [(False, len(TEXTS)), (True, sum(len(text.split()) + 2 for [text] in TEXTS))]
)
def test_answers_stand_in_the_order_of_the_texts(tmp_path: Path, tagger: bool, answers: int) -> None:
    folder = write_model_folder(tmp_path / "model", encoder_model(tagger=tagger, classifier=not tagger))
    model = OpenModel.of("model", open_session(folder / "model.onnx"), ModelConfig(), None)
    encoder = load_text_encoder(folder, ModelConfig())

    def ask(texts: list[tuple[str]]) -> np.ndarray:
        return model.answers(encoder.encode(texts), padding=encoder.padding, batch_size=2)

    found = ask(TEXTS)
    assert found.shape == (answers, CLASSES)
    np.testing.assert_allclose(found, np.concatenate([ask([text]) for text in TEXTS]), rtol=1e-4, atol=1e-6)
