"""Models that answer for every token, through the command line: names of things, and where a span begins and ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from squeeze_onnx import CalibrationConfig, load_calibration, load_model
from squeeze_onnx.compress.held_back import rows_of
from tests.conftest import RunCli
from tests.text_models import SPECIAL
from tests.tiny_encoder import SENTENCES, WORDS, encoder_model, write_model_folder

NAMES = ["thing", "none"]
"""Of the classes of a token."""

TEXTS = (*SENTENCES, *(f"{first} {second}" for first in WORDS[:5] for second in WORDS[:5]))
"""More than a batch of them, of several lengths."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    write_model_folder(folder / "tagger", encoder_model(tagger=True), id2label=dict(zip("01", NAMES, strict=True)))
    write_model_folder(folder / "speaker", encoder_model(speaker=True))
    write_model_folder(folder / "reader", encoder_model(reader=True))
    (folder / "text").write_text("\n".join(TEXTS), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "options", [(), ("--distill", "4"), ("--method", "whiten"), ("--precision", "int8")], ids=" ".join
)
def test_a_tagger_is_squeezed_by_text_and_compared_token_by_token(
    run_cli: RunCli, work: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    text, out = ("--calibration", work / "text"), tmp_path / "out"
    done = run_cli("optimize", work / "tagger", "-o", out, "--keep", "0.5", *text, *options)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["method"] == ("whiten" if "whiten" in options else "fisher")
    assert report["certificate"]["measure"] == "class probability change"
    held_back = load_calibration(load_model(work / "tagger"), CalibrationConfig(str(work / "text"))).held_back
    certificate = report["certificate"]
    assert certificate["tokens"] == sum(int(each.feeds["attention_mask"].sum()) for each in held_back) > 0
    assert certificate["texts"] == rows_of(held_back)
    assert f"Certificate: on {certificate['tokens']} tokens of {certificate['texts']} texts held back" in " ".join(
        done.stdout.split()
    )
    done = run_cli(
        "validate", work / "tagger", out, "--data", work / "text", "--json", tmp_path / "found.json", "--robustness"
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["head"] == "token_logits"
    assert 0 < found["agreement"] <= 1
    assert found["mean_kl"] > 0
    tokens = sum(len(sentence.split()) + 2 for sentence in TEXTS)
    assert sum(group["texts"] for group in found["robustness"]["likeness"]["groups"]) == tokens


@pytest.mark.parametrize(("model", "names"), [("tagger", {*NAMES}), ("speaker", {*SPECIAL, *WORDS, None})])
def test_a_bundle_names_each_token(
    run_cli: RunCli, work: Path, tmp_path: Path, model: str, names: set[str | None]
) -> None:
    assert run_cli("package", work / model, "-o", tmp_path / "bundle").returncode == 0
    assert run_cli("verify", tmp_path / "bundle").returncode == 0
    asked = subprocess.run(
        [sys.executable, tmp_path / "bundle" / "run.py", SENTENCES[0]], capture_output=True, text=True, check=True
    )
    named = json.loads(asked.stdout)
    assert [token for token, _ in named] == ["[CLS]", *SENTENCES[0].split(), "[SEP]"]
    assert {name for _, name in named} <= names


def test_a_language_model_is_squeezed_by_text_and_compared_word_by_word(
    run_cli: RunCli, work: Path, tmp_path: Path
) -> None:
    text, out = work / "text", tmp_path / "out"
    done = run_cli("optimize", work / "speaker", "-o", out, "--keep", "0.5", "--calibration", text)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["method"] == "whiten"
    assert (report["certificate"]["texts"], report["certificate"]["bound"]) == (
        4,
        None,
    )  # as few as are held back at all
    done = run_cli("validate", work / "speaker", out, "--data", text, "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["head"] == "word_logits"
    assert 0 <= found["agreement"] <= 1
    assert found["mean_kl"] > 0


@pytest.mark.parametrize("method", ["fisher", "soco"])
def test_what_learns_from_answers_refuses_words(run_cli: RunCli, work: Path, tmp_path: Path, method: str) -> None:
    text = ("--calibration", work / "text")
    done = run_cli("optimize", work / "speaker", "-o", tmp_path / "out", "--method", method, *text)
    assert done.returncode == 2
    assert "output 'logits' is of the kind word_logits" in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_answers_in_a_way_nobody_knows_is_squeezed_by_text_all_the_same(
    run_cli: RunCli, work: Path, tmp_path: Path
) -> None:
    done = run_cli("optimize", work / "reader", "-o", tmp_path / "out", "--keep", "0.5", "--calibration", work / "text")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["method"] == "whiten"
    assert report["certificate"]["notes"][0].startswith("Nothing was measured: answers that are spans of a context")
    done = run_cli("validate", work / "reader", tmp_path / "out", "--data", work / "text")
    assert done.returncode == 2
    assert "answers questions by a span of their context, which texts alone do not ask" in done.stderr
