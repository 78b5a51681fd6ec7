"""``optimize --output-dimensions`` and ``--output-type``: what comes after them reads the output that they add."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.data.tokenizer_files import tokenizer_place
from squeeze_onnx.evaluate.evaluator import Predictor
from squeeze_onnx.report.schemas import load_schema
from squeeze_onnx.workflows.dry_run import foresee
from tests.conftest import RunCli
from tests.sentence_models import PUBLISHED, write_sentence_model
from tests.tiny_encoder import WORDS, encoder_model, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an embedder in ``model``, sentences in ``text``, scored pairs in ``pairs.csv`` and a ``search``."""
    folder = tmp_path_factory.mktemp("output")
    write_sentence_model(folder / "model", PUBLISHED["all-MiniLM-L6-v2"])
    random = np.random.default_rng(0)
    sentences = [" ".join(random.choice(WORDS, 6)) for _ in range(80)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    scored = [f"{a},{b},{number % 5}" for number, (a, b) in enumerate(pairwise(sentences))]
    (folder / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *scored]), encoding="utf-8")
    (folder / "search" / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", sentences[:20]), ("queries", [text.rpartition(" ")[0] for text in sentences[:5]])):
        lines = [json.dumps({"_id": f"{name[0]}{number}", "text": text}) for number, text in enumerate(texts)]
        (folder / "search" / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    judged = ["query-id\tcorpus-id\tscore", *(f"q{number}\tc{number}\t1" for number in range(5))]
    (folder / "search" / "qrels" / "test.tsv").write_text("\n".join(judged), encoding="utf-8")
    return folder


@pytest.fixture
def call(call_cli: RunCli) -> Any:
    def called(*options: object, status: int = 0) -> Any:
        done = call_cli(*options)
        assert done.returncode == status, done.stderr
        return done

    return called


def optimized(call: Any, work: Path, out: Path, *options: object) -> dict[str, Any]:
    if not out.exists():
        call("optimize", work / "model", "-o", out, "--calibration", work / "text", *options)
    return json.loads((out / "report.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


EIGHTH = ("--keep", "0.8", "--output-dimensions", "16", "--output-type", "int8")


def test_what_comes_after_reads_the_integers(call: Any, work: Path) -> None:
    out = work / "small"
    entry = optimized(call, work, out, *EIGHTH)["stored_embedding"]
    assert (entry["bytes"], entry["dimensions"], entry["held_back"]) == ({"before": 128, "after": 16}, 16, True)
    assert set(entry["tried"]) == {"rotation", "rotation without the mean", "learned"}
    for data, metric in ((work / "pairs.csv", "spearman"), (work / "search", "ndcg@10")):
        done = call("validate", work / "model", out, "--data", data, "--json", "-", "--html", work / "page.html")
        assert "Rank correlation of pairs" in (work / "page.html").read_text(encoding="utf-8")
        report = json.loads(done.stdout)
        assert report["embedding"]["candidate"]["stored"]["type"] == "int8"
        assert report["metrics"][metric]["candidate"] == pytest.approx(report["metrics"][metric]["baseline"], abs=0.1)
        assert report["cosine_similarity"] is None
        assert report["pair_difference"] < 0.05
    bundle = work / "bundle"
    call("package", out, "-o", bundle)
    answer = subprocess.run([sys.executable, bundle / "run.py", "a film"], capture_output=True, text=True, check=True)
    numbers = json.loads(answer.stdout)
    assert len(numbers) == 16
    assert all(isinstance(number, int) and -128 <= number <= 127 for number in numbers)
    call("verify", bundle)


def test_it_may_be_all_that_is_asked_for_and_goes_with_a_plan(call: Any, work: Path, tmp_path: Path) -> None:
    asked = ("--output-type", "binary", "--precision", "int8")
    report = optimized(call, work, tmp_path / "first", "--keep", "1", "--no-refit", *asked)
    assert all(site["treatment"] == "dense" for site in report["sites"])
    again = optimized(call, work, tmp_path / "again", "--plan", tmp_path / "first" / "plan.json", *asked)
    assert again["stored_embedding"] == report["stored_embedding"]
    assert report["stored_embedding"]["bytes"] == {"before": 128, "after": 4}


def test_bytes_are_predicted_with_the_output(work: Path, call: Any) -> None:
    report = optimized(call, work, work / "small", *EIGHTH)
    config = OptimizeConfig(keep=0.8, output_dimensions=16, output_type="int8")
    predicted = foresee(work / "model", work / "none", config, calibration=CalibrationConfig(str(work / "text")))
    assert report["size"]["optimized_bytes"] == pytest.approx(predicted["size"]["predicted_bytes"], rel=0.01)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("model", "--output-dimensions", "16"), "--output-dimensions looks at embeddings of text; give --calibration"),
        (("classifier", "--calibration", "{text}", "--output-type", "int8"), "answers with class logits"),
        (("small", "--calibration", "{text}"), "start from the model that it was made of"),
        (("model", "--output-type", "int6"), "--output-type is one of float, int8, uint8, binary"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_sentence(
    call: Any, work: Path, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    model, *asked = options
    optimized(call, work, work / "small", *EIGHTH)
    if model == "classifier" and not (work / model).exists():
        write_model_folder(
            work / model, encoder_model(classifier=True), architectures=["BertForSequenceClassification"]
        )
    words = (word.format(text=work / "text") for word in asked)
    done = call("optimize", work / model, "-o", tmp_path / "out", "--keep", "0.8", *words, status=2)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_schema_knows_it(call: Any, work: Path) -> None:
    Draft202012Validator(load_schema("report")).validate(optimized(call, work, work / "small", *EIGHTH))


def test_too_few_texts_are_told_before_anything_is_surveyed(call: Any, work: Path, tmp_path: Path) -> None:
    track = ("--calibration", work / "text", "--calibration-rows", "12", "--output-dimensions", "16")
    done = call("optimize", work / "model", "-o", tmp_path / "out", *track, status=2)
    assert "give at least 16, better ten times as many, with --calibration" in done.stderr


def test_a_gate_asks_the_output_that_is_to_be_stored(call: Any, work: Path) -> None:
    optimized(call, work, work / "small", *EIGHTH)
    dense, small = (find_repository(work / name).model_path for name in ("model", "small"))
    settings = read_settings(dense)
    encoder = load_text_encoder(tokenizer_place(find_repository(work / "model")), settings)
    predictor = Predictor(find_task("stsb"), settings, encoder)
    heads = [predictor.open(model, name).head for model, name in ((dense, "baseline"), (small, "candidate"))]
    assert [head.output for head in heads] == ["last_hidden_state", "sentence_embedding"]
