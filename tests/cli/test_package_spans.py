"""Bundles of models that answer a question by a part of its context: run.py answers as `validate` does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.asking.base import Way
from squeeze_onnx.evaluate.asking.contexts import LONGEST_ANSWER, QUESTIONS, Span, read_contexts
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.workflows.packaging.bundle import PackageConfig, package
from tests.cli.test_package import answer
from tests.conftest import RunCli
from tests.text_models import Vectors, write_reader

WORDS = ("who", "ann", "lee", "runs", "far", "nobody")
READER: Vectors = dict(zip(WORDS, [(9, 9), (4, 1), (0, 4), (0, 0), (0, 6), (-6, -6)], strict=True))
MOST_TOKENS = 48


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reader(tmp_path_factory.mktemp("spans") / "reader", READER)


@pytest.fixture(scope="module")
def bundle(reader: Path) -> Path:
    return package(reader, reader.with_name("bundle"), PackageConfig(max_tokens=MOST_TOKENS)).path


def chosen(reader: Path, question: str, context: str) -> Span:
    """Return what the evaluation finds."""
    settings = read_settings(reader / "model.onnx")
    model = OpenModel.of("model", open_session(reader / "model.onnx"), settings, QUESTIONS)
    encoder = load_text_encoder(reader, settings, max_tokens=MOST_TOKENS)
    (span,) = read_contexts(model, [(question, context)], Way(encoder, batch_size=4)).spans
    return span


def drawn(seed: int, length: int) -> str:
    """Return a context without an order: its best span lies anywhere, in any window."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, size=length))


@pytest.mark.parametrize(
    ("question", "context"),
    [
        ("who", "runs ann  lee runs"),
        ("who", " ".join(["ann", *["runs"] * LONGEST_ANSWER, "far"])),
        ("who", "nobody nobody"),
        ("who " * 7, drawn(0, 150)),
        ("who " * 20, drawn(1, 97)),
    ],
    ids=["a span", "too long a span", "no answer is likelier", "windows", "all candidates are of the question"],
)
def test_run_py_chooses_the_span_that_validate_does(bundle: Path, reader: Path, question: str, context: str) -> None:
    expected = chosen(reader, question, context)
    found: Any = answer(bundle, question, context)
    assert (found["start"], found["end"]) == expected.characters
    assert found["answer"] == context[slice(*expected.characters)]
    assert found["score"] == (pytest.approx(expected.score) if np.isfinite(expected.score) else None)
    assert found["no_answer_score"] == pytest.approx(expected.no_answer)


def test_run_py_answers_its_example_and_says_what_is_next(bundle: Path, call_cli: RunCli) -> None:
    assert len((bundle / "run.py").read_text(encoding="utf-8").splitlines()) <= 70
    text = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["text"]
    assert text["head"] == "span_logits"
    found: Any = answer(bundle)
    assert found["answer"] in text["example"][1]
    assert "'a question' 'its context'" in call_cli("verify", bundle).stdout


def test_a_context_without_a_token_has_no_answer(bundle: Path) -> None:
    found: Any = answer(bundle, "who", "")
    assert (found["answer"], found["score"]) == ("", None)


@pytest.mark.parametrize(("option", "value"), [("--pooling", "mean"), ("--prompt", "query: ")])
def test_what_is_asked_of_texts_is_refused_of_questions(
    reader: Path, call_cli: RunCli, tmp_path: Path, option: str, value: str
) -> None:
    done = call_cli("package", reader, "-o", tmp_path / "b", option, value)
    assert done.returncode == 2
    assert f"{option} {value.strip()} is of texts, but" in " ".join(done.stderr.split())
    assert not (tmp_path / "b").exists()
