"""``optimize --objective`` and ``--target-latency``: a budget of time or of bytes."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.tiny_encoder import SENTENCES, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objective")
    write_model_folder(folder / "model")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder


def command(work: Path, out: str, *options: str) -> list[str | Path]:
    text = ("--calibration", str(work / "text"), "--sequence-length", "8")
    return ["optimize", work / "model", "-o", work / out, *text, *options]


def test_a_budget_of_bytes_is_that_of_the_file(run_cli: RunCli, work: Path) -> None:
    done = run_cli(*command(work, "small", "--objective", "size", "--keep", "0.9", "--quiet"))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((work / "small" / "report.json").read_text(encoding="utf-8"))
    assert report["budget"] == {"keep": 0.9, "objective": "size"}
    size = report["size"]
    weights_gone = 4 * (size["eligible_parameters"] - size["kept_eligible_parameters"])
    assert 0.09 < weights_gone / size["baseline_bytes"] < 0.13


def test_a_budget_of_time_is_predicted_and_measured(run_cli: RunCli, work: Path) -> None:
    done = run_cli(*command(work, "fast", "--target-latency", "1"), SQUEEZE_CACHE=str(work / "cache"))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((work / "fast" / "report.json").read_text(encoding="utf-8"))
    assert report["budget"] == {"keep": 1.0, "objective": "latency"}
    latency = report["latency"]
    assert latency["sequence_length"] == 8
    assert 0 < latency["predicted_ratio"] <= 1
    low, high = latency["measured_interval"]
    assert low <= latency["measured_ratio"] <= high
    assert "predicted" in done.stdout
    assert "measured" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--target-latency", "0.01"],
            "of the latency of the model stays, however thin the weights get; give more to --keep",
        ),
        (["--target-latency", "0.5", "--keep", "0.5"], "--target-latency 0.5 is a budget by itself; leave out --keep"),
        (["--objective", "speed"], "--objective is one of parameters, size, latency; got 'speed'"),
        (
            ["--objective", "latency", "--method", "svd"],
            "--objective latency is kept by --method whiten",
        ),
        (["--objective", "latency", "--sequence-length", "0"], "--sequence-length is a positive integer; got 0"),
    ],
    ids=["too little", "two budgets", "unknown", "a method that counts parameters", "no tokens"],
)
def test_what_cannot_be_is_refused(run_cli: RunCli, work: Path, options: list[str], message: str) -> None:
    done = run_cli(*command(work, "refused", *options), SQUEEZE_CACHE=str(work / "cache"))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (work / "refused").exists()
