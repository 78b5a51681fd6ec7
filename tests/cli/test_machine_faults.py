"""What a machine does to a run besides killing it: its clock jumps, a data file goes away. See test_bad_input for full disks."""

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from squeeze_onnx import load_model, save_model
from squeeze_onnx.compress.survey_cache import survey_of
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import WORDS

YEAR = 365.0 * 24 * 3600
TO_HALF = ("--method", "svd", "--keep", "0.5")


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes forth and back by years between any two looks; what counts seconds only goes on."""
    now = time.time()
    jumps = itertools.cycle([40 * YEAR, -20 * YEAR, 0.0, -now])
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int((now + next(jumps)) * 1e9))


def run_all(call_cli: RunCli, work: Path, out: Path) -> dict[str, bytes | None]:
    """Distil with checkpoints, and package; return the model and the bundle."""
    done = call_cli(
        *("optimize", work / "model", "-o", out / "small", *TO_HALF, "--calibration", out / "text", "--no-refit"),
        *("--distill", "4", "--checkpoint-minutes", "0", "--cache", out / "cache", "--force"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert call_cli("package", out / "small", "-o", out / "small.zip", "--force").returncode == 0
    found = snapshot(out)
    return {
        name: content for name, content in found.items() if not name.endswith(("report.json", "report.html", ".zip"))
    }


def test_a_clock_that_jumps_changes_nothing(
    call_cli: RunCli, work: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Nor do files of the future, which a run finds beside its output and in its cache."""
    sentences = itertools.islice(itertools.permutations(WORDS, 2), 60)
    (tmp_path / "text").write_text("\n".join(map(" ".join, sentences)), encoding="utf-8")
    expected = run_all(call_cli, work, tmp_path)
    for path in (*tmp_path.rglob("*"), *work.rglob("*")):
        os.utime(path, (time.time() + 40 * YEAR,) * 2)
    request.getfixturevalue("jumping_clock")
    assert run_all(call_cli, work, tmp_path) == expected


@pytest.fixture
def with_data_file(model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(load_model(model).ir, folder / "model.onnx", external_data=True)
    return folder


def losing(path: Path, spoil: Callable[[Path], object]) -> Callable[..., object]:
    """Spoil the file ``path`` once the model is loaded."""

    def survey(*arguments: object, **options: object) -> object:
        spoil(path)
        return survey_of(*arguments, **options)  # type: ignore[arg-type]

    return survey


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, "cannot be read any more"),
        (lambda path: os.truncate(path, 10), "was changed while its weights were in use"),
        (lambda path: (path.unlink(), path.mkdir()), "was changed while its weights were in use"),
    ],
    ids=["goes away", "is cut off", "becomes a folder"],
)
def test_a_data_file_that_fails_while_it_is_read(
    call_cli: RunCli,
    with_data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    data = with_data_file / "model.onnx.data"
    whole = data.read_bytes()
    monkeypatch.setattr("squeeze_onnx.workflows.opening.survey_of", losing(data, spoil))
    done = call_cli("optimize", with_data_file, "-o", tmp_path / "out", *TO_HALF)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"model.onnx.data {said}" in done.stderr
    assert "start again" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    monkeypatch.undo()
    if data.is_dir():
        data.rmdir()
    data.write_bytes(whole)
    assert call_cli("optimize", with_data_file, "-o", tmp_path / "out", *TO_HALF).returncode == 0
