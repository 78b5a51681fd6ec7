"""``optimize --distill``, as a user runs it: what it writes, and what becomes of a run that is killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import RunCli
from tests.tiny_encoder import WORDS, outputs, weights_of, write_model_folder

OPTIONS = ("--method", "svd", "--keep", "0.4", "--no-refit", "--distill", "120", "--distill-layers", "0.25", "--quiet")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an encoder in ``model`` and sentences in ``text``."""
    folder = tmp_path_factory.mktemp("distill")
    write_model_folder(folder / "model")
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 12, 80)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def command(work: Path, out: str, *options: str) -> list[str]:
    return [
        "optimize",
        str(work / "model"),
        "-o",
        str(work / out),
        "--calibration",
        str(work / "text"),
        *OPTIONS,
        *options,
    ]


def stage_in(checkpoint: Path) -> int:
    """Return the stage that ``checkpoint`` was saved in, -1 before there is one."""
    if not checkpoint.exists():
        return -1
    with np.load(checkpoint) as state:
        assert state["step"] > 0
        return int(state["stage"])


def initializers(folder: Path) -> dict[str, np.ndarray]:
    return weights_of(onnx.load(folder / "model.onnx"))


@pytest.fixture(scope="module")
def distilled(run_cli: RunCli, work: Path) -> Path:
    done = run_cli(*command(work, "distilled"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return work / "distilled"


def test_comes_nearer_to_the_dense_model_at_the_same_size(run_cli: RunCli, work: Path, distilled: Path) -> None:
    plain = [word for word in command(work, "plain") if word not in ("--distill", "120", "--distill-layers", "0.25")]
    assert run_cli(*plain).returncode == 0
    assert {name: array.shape for name, array in initializers(distilled).items()} == {
        name: array.shape for name, array in initializers(work / "plain").items()
    }
    expected = outputs(work / "model")
    assert np.linalg.norm(outputs(distilled) - expected) < np.linalg.norm(outputs(work / "plain") - expected)


def test_reports_what_learning_did(distilled: Path) -> None:
    report = json.loads((distilled / "report.json").read_text(encoding="utf-8"))
    learned = report["distillation"]
    assert learned["measure"] == "EmbeddingCosine"
    assert learned["after"] < learned["before"] == learned["history"][0][1]
    assert learned["after"] == min(loss for _, loss in learned["history"])
    assert [(block["layer"], block["steps"]) for block in learned["blocks"]] == [(0, 30), (1, 30)]
    assert all(block["after"] < block["before"] for block in learned["blocks"])
    assert (learned["steps"], learned["no_blocks"]) == (90, None)
    assert report["config"]["distill"] == 120
    assert report["timing"]["distillation"] > 0
    assert f"best after step {learned['best_step']}" in (distilled / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", [0, 2], ids=["in the first layer", "in the whole"])
def test_killed_goes_on_to_the_same_result(run_cli: RunCli, work: Path, distilled: Path, stage: int) -> None:
    out = f"killed-{stage}"
    arguments = command(work, out, "--checkpoint", str(work / "state"), "--checkpoint-minutes", "0")
    checkpoint = work / "state" / f"{out}.distillation.npz"
    with subprocess.Popen([sys.executable, "-m", "squeeze_onnx", *arguments]) as process:
        while stage_in(checkpoint) < stage:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (work / out).exists()
    assert stage_in(checkpoint) == stage
    assert run_cli(*arguments).returncode == 0
    found, expected = initializers(work / out), initializers(distilled)
    assert all(np.array_equal(entries, found[name]) for name, entries in expected.items())
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distill", "0"], "--distill is a positive number of steps, or auto; got 0"),
        (["--distill", "long"], "--distill is a positive number of steps, or auto; got long"),
        (["--distill", "auto"], "--distill learns from text; give --calibration"),
        (["--distill", "9", "--distill-layers", "2"], "--distill-layers is a float from 0 to 1; got 2.0"),
        (["--distill-layers", "0.5"], "--distill-layers 0.5 is a part of the steps of --distill; add --distill"),
        (["--checkpoint", "state"], "--checkpoint state is where --distill keeps its state; add --distill"),
        (
            ["--distill", "9", "--checkpoint-minutes", "-1"],
            "--checkpoint-minutes is a number of minutes, 0 or more; got -1",
        ),
    ],
)
def test_refuses(call_cli: RunCli, work: Path, options: list[str], message: str) -> None:
    done = call_cli("optimize", work / "model", "-o", work / "refused", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"squeeze-onnx: error: {message}")
    assert not (work / "refused").exists()


@pytest.mark.parametrize("quiet", [True, False])
def test_ctrl_c_writes_the_best_so_far(work: Path, quiet: bool) -> None:
    out = f"interrupted-{quiet}"
    arguments = command(work, out, "--checkpoint", str(work / "state"), "--checkpoint-minutes", "0")
    arguments = [word for word in arguments if word != "--quiet"] + ["--quiet"] * quiet
    arguments[arguments.index("120")] = "20000"
    with subprocess.Popen(
        [sys.executable, "-m", "squeeze_onnx", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        while stage_in(work / "state" / f"{out}.distillation.npz") < 0:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    assert process.returncode == 0, told
    assert ("the best so far is kept and written" in told) is not quiet
    report = json.loads((work / out / "report.json").read_text(encoding="utf-8"))
    assert report["distillation"]["interrupted"]
    assert report["distillation"]["steps"] < 15000
    assert not (work / "state" / f"{out}.distillation.npz").exists()
