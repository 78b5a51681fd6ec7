"""Held against sentence-transformers itself: tiny models with the files of published ones, before and after squeezing."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx import OptimizeConfig
from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.data.tokenizer_files import tokenizer_place
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.packaging.bundle import package
from squeeze_onnx.workflows.packaging.verification import verify
from tests.sentence_models import (
    IDENTITY,
    PUBLISHED,
    SETTINGS,
    DenseModule,
    Published,
    write,
    write_reranker,
    write_sentence_model,
)
from tests.tiny_encoder import HIDDEN, SENTENCES, write_model_folder

if importlib.util.find_spec("sentence_transformers") is None:
    pytest.skip("sentence-transformers is not installed", allow_module_level=True)

TEXTS = [*SENTENCES, "The film WAS poor", "a " * 60, "bad"]


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


MORE = {
    "instructor": Published(
        include_prompt=False,
        dense=(DenseModule(20, IDENTITY, bias=False),),
        prompts={"query": "the good film "},
        default_prompt="query",
    ),
    "all joined": Published(
        ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"),
        dense=(DenseModule(16, None), DenseModule(12, "torch.nn.modules.activation.GELU")),
        normalized_first=True,
    ),
    "left, without its prompt": Published(
        # Not weightedmean: where padding stands before a text, it counts as places of the text there.
        ("mean", "lasttoken", "cls", "max", "mean_sqrt_len_tokens"),
        include_prompt=False,
        prompts={"query": "the good film "},
        default_prompt="query",
        normalized=False,
        left=True,
    ),
}
EMBEDDERS = PUBLISHED | MORE
RERANKERS: Mapping[str, Mapping[str, object]] = {
    "ms-marco": {"sbert_ce_default_activation_function": IDENTITY},
    "version 4": {
        "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.0.0"}
    },
}


SIZES = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": HIDDEN, "num_attention_heads": 4}
STORED = ("gte-base", "mxbai-embed-large-v1", "no files")
"""Embedders that get an output to be stored too."""


class Models:
    """Squeezes and packages every model, and asks sentence-transformers about all of them at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text = root / "texts.txt"
        self.text.write_text("\n".join(TEXTS), encoding="utf-8")
        for name, told in EMBEDDERS.items():
            write_sentence_model(root / name / "dense", told)
        for name, config in RERANKERS.items():
            write_reranker(root / name / "dense", **config)
        calibration = CalibrationConfig(str(self.text))
        for name in (*EMBEDDERS, *RERANKERS):
            dense, squeezed = (root / name / form for form in ("dense", "squeezed"))
            optimize(dense, squeezed, OptimizeConfig(keep=0.5, method="whiten"), calibration=calibration)
            package(root / name / "squeezed", root / name / "bundle")
        write(write_model_folder(root / "no files" / "dense", **SIZES) / "tokenizer_config.json", SETTINGS)
        for name in STORED:
            fewer = OptimizeConfig(keep=0.5, method="whiten", output_dimensions=4)
            optimize(root / name / "dense", root / name / "stored", fewer, calibration=calibration)
        self.told = self._ask()

    def _ask(self) -> dict[str, np.ndarray]:
        forms = ("dense", "squeezed")
        request = {
            "texts": TEXTS,
            "embedders": [
                *(str(self.root / name / form) for name in EMBEDDERS for form in forms),
                *(str(self.root / name / "stored") for name in STORED),
            ],
            "rerankers": [str(self.root / name / form) for name in RERANKERS for form in forms],
        }
        path = self.root / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        script = Path(__file__).with_name("sentence_transformers_script.py")
        done = subprocess.run(
            [sys.executable, str(script), str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        assert done.returncode == 0, done.stderr
        return {folder: np.array(found) for folder, found in json.loads(done.stdout.splitlines()[-1]).items()}

    def told_of(self, name: str, form: str) -> np.ndarray:
        return self.told[str(self.root / name / form)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("sentence-transformers"))


def run(bundle: Path, *texts: str) -> np.ndarray:
    command = [sys.executable, str(bundle / "run.py"), *texts]
    return np.array(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, form) for name in EMBEDDERS for form in ("dense", "squeezed")), *((name, "stored") for name in STORED)],
)
def test_an_embedding_is_what_it_makes_of_the_text(models: Models, name: str, form: str) -> None:
    repository = find_repository(models.root / name / form)
    settings = read_settings(repository.model_path)
    encoder = load_text_encoder(tokenizer_place(repository), settings)
    opened = OpenModel.of(name, open_session(repository.model_path), settings, None)
    sequences = encoder.encode(opened.head.sequences([(text,) for text in TEXTS]))
    found = opened.answers(sequences, padding=encoder.padding, batch_size=2)
    assert_alike(found, models.told_of(name, form))


@pytest.mark.parametrize("name", EMBEDDERS)
def test_validate_compares_the_embeddings_that_it_makes(models: Models, name: str) -> None:
    folders = models.root / name / "dense", models.root / name / "squeezed"
    report = validate(*folders, ValidateConfig(data=models.text, latency_rounds=1)).to_json()
    dense, squeezed = (models.told_of(name, form) for form in ("dense", "squeezed"))
    dots = np.sum(dense * squeezed, axis=1)
    cosines = dots / np.linalg.norm(dense, axis=1) / np.linalg.norm(squeezed, axis=1)
    assert report["cosine_similarity"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert report["max_abs_diff"] == pytest.approx(np.max(np.abs(dense - squeezed)), abs=1e-5)
    assert report["max_abs_diff"] > 1e-4


@pytest.mark.parametrize("name", EMBEDDERS)
def test_run_py_answers_with_the_embedding_that_it_makes_of_the_squeezed_model(models: Models, name: str) -> None:
    expected = models.told_of(name, "squeezed")
    for row in (0, 4, 5):
        assert_alike(run(models.root / name / "bundle", TEXTS[row]), expected[row])


@pytest.mark.parametrize("name", EMBEDDERS)
def test_the_certificate_is_of_these_embeddings(models: Models, name: str) -> None:
    report = json.loads((models.root / name / "squeezed" / "report.json").read_text(encoding="utf-8"))
    dense, squeezed = (models.told_of(name, form) for form in ("dense", "squeezed"))
    dots = np.sum(dense * squeezed, axis=1)
    distances = 1 - dots / np.linalg.norm(dense, axis=1) / np.linalg.norm(squeezed, axis=1)
    assert report["certificate"]["measured"]["worst"] == pytest.approx(np.max(distances), abs=1e-5)


@pytest.mark.parametrize("name", [*EMBEDDERS, *RERANKERS])
def test_the_bundle_is_whole(models: Models, name: str) -> None:
    assert verify(models.root / name / "bundle").answers


@pytest.mark.parametrize("name", RERANKERS)
def test_a_reranker_scores_pairs(models: Models, name: str) -> None:
    expected = models.told_of(name, "squeezed")
    for row in (0, 4):
        found = run(models.root / name / "bundle", TEXTS[row], TEXTS[0])
        assert_alike(found, expected[row : row + 1])
