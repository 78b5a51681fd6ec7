"""Which modules of modules.json are known at which place, and what a vector of every token goes through (PyLate's ColBERT)."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.answer_heads import TokenEmbeddings, TokenVectors
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.errors import OptionError, RepositoryError
from tests.sentence_models import MODELS, DenseModule, Published, write, write_sentence_model
from tests.tiny_encoder import write_model_folder


def write_colbert(folder: Path, similarity: str | None = "MaxSim") -> Path:
    """Write what PyLate 1.6 writes: a Dense of tokens, prefixes, lengths; no pooling."""
    write_sentence_model(folder, Published(dense=(DenseModule(8, bias=False),), normalized=False))
    entries = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", [entries[0], entries[2] | {"type": "pylate.models.Dense.Dense"}])
    said = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 16, "document_length": 20}
    write(
        folder / "config_sentence_transformers.json",
        said | ({"similarity_fn_name": similarity} if similarity else {}),
    )
    return folder


def head_of(folder: Path, **asked: str) -> object:
    path = folder / "onnx" / "model.onnx"
    return choose_head(open_session(path), read_settings(path, EmbeddingOptions(**asked)), None)


@pytest.mark.parametrize("asked", [{}, {"pooling": "none"}], ids=["by its files", "by the option"])
def test_a_colbert_answers_with_what_its_dense_makes_of_every_token(tmp_path: Path, asked: dict[str, str]) -> None:
    head = head_of(write_colbert(tmp_path), **asked)
    assert isinstance(head, TokenVectors)
    weight = load_file(tmp_path / "2_Dense" / "model.safetensors")["linear.weight"].T
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    vectors = np.random.default_rng(0).standard_normal((2, 3, len(weight)))
    expected = np.tanh(vectors[mask.astype(bool)] @ weight)
    np.testing.assert_allclose(head.answers(vectors, mask), expected, rtol=1e-12)
    assert head.prompt == "[D] "


def test_its_texts_are_as_long_as_its_documents(tmp_path: Path) -> None:
    settings = read_settings(write_colbert(tmp_path) / "onnx" / "model.onnx")
    assert settings.text_limits.max_tokens == 20
    assert load_text_encoder(tmp_path, settings).max_tokens == 20


def test_the_dense_makes_a_colbert_whatever_the_similarity_is_called(tmp_path: Path) -> None:
    assert isinstance(head_of(write_colbert(tmp_path, None)), TokenVectors)


def test_a_pooling_that_is_named_counts(tmp_path: Path) -> None:
    assert isinstance(head_of(write_colbert(tmp_path), pooling="mean"), TokenEmbeddings)


def test_modules_behind_a_pooling_take_no_tokens(tmp_path: Path) -> None:
    write_sentence_model(tmp_path, Published(dense=(DenseModule(8),)))
    head = head_of(tmp_path, pooling="none")
    assert isinstance(head, TokenVectors)
    assert head.modules == ()


UNKNOWN_FIRST = ("Router", "Asym", "WordEmbeddings", "BoW", "CLIPModel", "StaticEmbedding", "MLMTransformer")
UNKNOWN_LATER = (
    "LSTM",
    "CNN",
    "WeightedLayerPooling",
    "WordWeights",
    "SpladePooling",
    "SparseAutoEncoder",
    "LogitScore",
)


def spoil(folder: Path, kind: str) -> None:
    write_sentence_model(folder, Published())
    entries = json.loads((folder / "modules.json").read_text())
    if kind in UNKNOWN_FIRST:
        entries[0]["type"] = f"{MODELS}.{kind}"
    else:
        entries.insert(1, {"path": f"9_{kind}", "type": f"{MODELS}.{kind}"})
    write(folder / "modules.json", entries)


@pytest.mark.parametrize("kind", [*UNKNOWN_FIRST, *UNKNOWN_LATER])
def test_a_module_that_is_not_known_is_refused_with_its_file(tmp_path: Path, kind: str) -> None:
    spoil(tmp_path, kind)
    with pytest.raises(
        RepositoryError, match=rf"modules\.json has a module {kind}, .* known are Transformer"
    ) as caught:
        head_of(tmp_path)
    assert str(tmp_path / "modules.json") in str(caught.value)


def test_an_answer_that_is_named_is_given_without_it(tmp_path: Path) -> None:
    spoil(tmp_path, "LSTM")
    head = head_of(tmp_path, answer="last_hidden_state")
    assert isinstance(head, TokenEmbeddings)
    assert head.embedding.modules == ()


@pytest.mark.parametrize("kind", ["Transformer", "BERT", "XLMRoBERTa"])
def test_encoders_of_all_versions_are_known(tmp_path: Path, kind: str) -> None:
    write_sentence_model(tmp_path, Published())
    entries = json.loads((tmp_path / "modules.json").read_text())
    entries[0]["type"] = f"{MODELS}.{kind}"
    write(tmp_path / "modules.json", entries)
    assert isinstance(head_of(tmp_path), TokenEmbeddings)


class TestRoutes:
    """An encoder below a router: its folder has no modules.json of its own."""

    @pytest.mark.parametrize(
        ("kind", "file"), [("Router", "router_config.json"), ("Asym", "config.json")], ids=["version 5", "version 2"]
    )
    def test_what_a_router_sends_texts_to_is_refused_unless_its_pooling_is_named(
        self, tmp_path: Path, kind: str, file: str
    ) -> None:
        route = tmp_path / "query_0_Transformer"
        write_model_folder(route)
        (route / "onnx").mkdir()
        (route / "model.onnx").rename(route / "onnx" / "model.onnx")
        write(tmp_path / "modules.json", [{"path": "", "type": f"sentence_transformers.base.modules.router.{kind}"}])
        write(tmp_path / file, {"structure": {"query": ["query_0_Transformer", "query_1_Pooling"], "document": []}})
        with pytest.raises(
            RepositoryError, match=rf"modules\.json has a module {kind}, of which .*query_0_Transformer is"
        ):
            head_of(route)
        assert isinstance(head_of(route, pooling="cls"), TokenEmbeddings)

    def test_a_folder_that_it_does_not_name_is_a_model_of_its_own(self, tmp_path: Path) -> None:
        other = write_model_folder(tmp_path / "other")
        write(tmp_path / "modules.json", [{"path": "", "type": f"{MODELS}.Router"}])
        write(tmp_path / "router_config.json", {"structure": {"query": ["query_0_Transformer"]}})
        path = other / "model.onnx"
        assert isinstance(choose_head(open_session(path), read_settings(path), None), TokenEmbeddings)


def test_a_length_that_is_no_number_is_refused(tmp_path: Path) -> None:
    write(write_colbert(tmp_path) / "config_sentence_transformers.json", {"document_length": "long"})
    with pytest.raises(RepositoryError, match="document_length is 'long', not a number of tokens"):
        head_of(tmp_path)


def test_a_task_of_whole_texts_says_how_tokens_become_one(tmp_path: Path) -> None:
    path = write_colbert(tmp_path) / "onnx" / "model.onnx"
    with pytest.raises(OptionError, match="scored by one vector a text, and there is one a token: `pooling` says how"):
        choose_head(open_session(path), read_settings(path), find_task("stsb"))
