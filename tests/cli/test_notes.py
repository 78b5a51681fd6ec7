"""What a run says on its own account: a weak choice, little text, a file that is larger than the budget sounds."""

from pathlib import Path

import pytest

from squeeze_onnx.cli.flags import in_flags
from tests.cli.optimized import read_json
from tests.conftest import RunCli


def notes(call_cli: RunCli, out: Path, *arguments: object) -> list[str]:
    """Run optimize; return the notes that it printed, which are those of the report with flags for settings."""
    done = call_cli("optimize", *arguments, "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    told = [line.removeprefix("Note: ") for line in done.stdout.splitlines() if line.startswith("Note: ")]
    kept = read_json(out / "report.json")["notes"]
    assert told == [in_flags(note) for note in kept]
    assert all(note in (out / "report.html").read_text(encoding="utf-8") for note in kept)
    return told


def test_without_text_the_method_is_called_weak(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    [weak, *_] = notes(call_cli, tmp_path / "out", model, "--keep", "0.5")
    assert weak.startswith("Weak choice: svd looks at no text")
    assert "--calibration FILE" in weak


def test_little_text_is_told(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    told = notes(call_cli, tmp_path / "out", work / "model", "--calibration", work / "text", "--no-refit")
    assert any("Little text: layer.0/ffn_out has 64 inputs and met 28 tokens" in note for note in told), told


def test_a_file_that_is_larger_than_the_budget_sounds(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    told = notes(call_cli, tmp_path / "out", model, "--keep", "0.1")
    assert "though 8% of the eligible parameters stay" in told[-1]
    assert "--include embedding" in told[-1]


def test_what_was_done_already_is_not_advised(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    options = ("--keep", "0.1", "--include", "embedding", "--precision", "int8")
    told = notes(call_cli, tmp_path / "out", model, *options)
    assert "though 8% of the eligible parameters stay: what is not eligible" in told[-1]
    assert "stays whole. --objective size makes" in told[-1]


@pytest.mark.parametrize("method", ["whiten", "soco"])
def test_too_little_text_is_refused(call_cli: RunCli, model: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "text").write_text("film\n", encoding="utf-8")
    options = ("--method", method, "--calibration", tmp_path / "text")
    done = call_cli("optimize", model, "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the calibration text is too little: layer.0/ffn_out has 64 inputs and met 3 tokens" in done.stderr
    assert not (tmp_path / "out").exists()
