"""Embeddings made to be stored: what the graph returns, what its files say of that, and what sentence-transformers reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.embedding_output.files import write_files
from squeeze_onnx.compress.embedding_output.stage import Outcome, refuse_no_embedder, shrink_output
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository, repository_of
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.data.tokenizer_files import tokenizer_place
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.graph.io.model import OnnxModel, load_model, save_model
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import DataError, OptionError
from tests.sentence_models import PUBLISHED, Published, write_sentence_model
from tests.tiny_encoder import SENTENCES, WORDS, write_model_folder

TEXTS = [*SENTENCES, "the film WAS poor", "bad", "a good plot of the film"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, random.integers(3, 9))) for _ in range(120)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Shrinker:
    """Makes the output of a tiny model one to be stored."""

    text: Path
    root: Path

    def __call__(self, told: Published | None, **settings: Any) -> tuple[Path, Outcome]:
        dense = self.root / "dense"
        if not dense.exists():
            write_model_folder(dense) if told is None else write_sentence_model(dense, told)
        model = load_model(find_repository(dense).model_path)
        context = Context(model, OptimizeConfig(**settings)).with_text(CalibrationConfig(str(self.text)))
        refuse_no_embedder(context)
        finished = OnnxModel(model.path, model.ir.clone())
        outcome = shrink_output(context, finished)
        assert outcome is not None
        out = self.root / "out"
        repository = repository_of(model.path)
        target = repository.place_in(out)
        target.parent.mkdir(parents=True)
        save_model(finished.ir, target)
        copy_companions(repository, out)
        write_files(out, repository, outcome.shrunk)
        return out, outcome


@pytest.fixture
def shrink(text: Path, tmp_path: Path) -> Shrinker:
    return Shrinker(text, tmp_path)


def ask(folder: Path, answer: str | None = None) -> np.ndarray:
    """Return what is read of `TEXTS` by the files in ``folder``; of the tokens that is what sentence-transformers reads."""
    model = find_repository(folder).model_path
    settings = read_settings(model, EmbeddingOptions(answer=answer))
    encoder = load_text_encoder(tokenizer_place(find_repository(folder)), settings)
    opened = OpenModel.of("model", open_session(model), settings, None)
    sequences = encoder.encode(opened.head.sequences([(each,) for each in TEXTS]))
    return opened.answers(sequences, padding=encoder.padding, batch_size=3)


def cosines(rows: np.ndarray) -> np.ndarray:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


@pytest.mark.parametrize(
    "name", ["distiluse-base-multilingual-cased-v2", "mxbai-embed-large-v1", "snowflake-arctic-embed-m"]
)
def test_the_graph_returns_what_its_files_tell_others_to_make_of_the_tokens(shrink: Shrinker, name: str) -> None:
    out, outcome = shrink(PUBLISHED[name], output_dimensions=8)
    found = ask(out)
    assert found.shape == (len(TEXTS), 8)
    assert outcome.report["bytes"] == {"before": 4 * outcome.shrunk.stored.of_dimensions, "after": 32}
    np.testing.assert_allclose(found, ask(out, "last_hidden_state"), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 0.02), ("uint8", 0.02)])
def test_cosines_of_integers_are_those_of_the_floats_that_they_stand_for(
    shrink: Shrinker, kind: str, tolerance: float
) -> None:
    out, outcome = shrink(PUBLISHED["all-MiniLM-L6-v2"], output_dimensions=16, output_type=kind)
    assert outcome.shrunk.stored.bytes == 16
    assert np.abs(cosines(ask(out)) - cosines(ask(out, "last_hidden_state"))).max() < tolerance


def test_bits_are_the_signs_the_first_of_a_byte_the_highest(shrink: Shrinker) -> None:
    out, outcome = shrink(PUBLISHED["all-MiniLM-L6-v2"], output_dimensions=16, output_type="binary")
    floats = ask(out, "last_hidden_state")
    session = open_session(find_repository(out).model_path)
    assert next(value.type for value in session.outputs if value.name == "sentence_embedding") == "tensor(uint8)"
    clear = np.abs(floats) > 1e-5
    assert np.array_equal((ask(out) > 0)[clear], (floats > 0)[clear])
    assert outcome.report["bytes"]["after"] == 2


def test_integers_of_all_dimensions_keep_the_axes_of_the_model(shrink: Shrinker) -> None:
    out, outcome = shrink(PUBLISHED["all-MiniLM-L6-v2"], output_type="int8")
    assert not outcome.shrunk.stored.own_axes
    dense = ask(shrink.root / "dense")
    np.testing.assert_allclose(ask(out), dense, atol=outcome.shrunk.stored.scale)
    np.testing.assert_allclose(ask(out, "last_hidden_state"), dense, atol=1e-6)


def test_a_model_without_any_such_file_gets_them(shrink: Shrinker) -> None:
    out, _ = shrink(None, output_dimensions=12)
    np.testing.assert_allclose(ask(out), ask(out, "last_hidden_state"), rtol=0, atol=1e-5)
    assert (out / "1_Pooling" / "config.json").is_file()


def test_the_first_dimensions_are_the_best(shrink: Shrinker) -> None:
    out, _ = shrink(PUBLISHED["all-MiniLM-L6-v2"], output_dimensions=16)
    dense, rows = cosines(ask(shrink.root / "dense")), ask(out)
    off = [np.abs(cosines(part) - dense).mean() for part in (rows, rows[:, :8], rows[:, 8:])]
    assert off[0] < off[1] < off[2]


Refusal = tuple[Published | None, dict[str, Any], type[Exception], str]

REFUSED: dict[str, Refusal] = {
    "too many": (PUBLISHED["all-MiniLM-L6-v2"], {"output_dimensions": 33}, OptionError, "have 32; ask for fewer"),
    "cut before": (PUBLISHED["mxbai-embed-large-v1"], {"output_dimensions": 21}, OptionError, "have 20; ask for fewer"),
    "part of a byte": (
        PUBLISHED["mxbai-embed-large-v1"],
        {"output_type": "binary"},
        OptionError,
        "20 is no multiple of 8",
    ),
    "vectors of tokens": (None, {"output_type": "int8", "pooling": "none"}, OptionError, "an embedding a text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_had_is_refused(shrink: Shrinker, case: str) -> None:
    told, settings, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        shrink(told, **settings)


def test_fewer_texts_than_dimensions_are_refused(shrink: Shrinker, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("\n".join(SENTENCES), encoding="utf-8")
    with pytest.raises(DataError, match="there are 4 texts: give at least 16"):
        Shrinker(few, tmp_path)(PUBLISHED["all-MiniLM-L6-v2"], output_dimensions=16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_dimensions": 0}, "a positive integer"),
        ({"output_type": "int7"}, "did you mean int8"),
        ({"output_dimensions": 20, "output_type": "binary"}, "ask for 16"),
    ],
)
def test_settings_are_checked_before_a_model_is_read(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        OptimizeConfig(**settings)
