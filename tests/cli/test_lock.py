"""Two runs on one output: the second is refused at once, whatever the command; a killed one keeps nobody out."""

import subprocess
import sys
import time
from itertools import islice, permutations
from pathlib import Path

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.survey_cache import survey_key
from squeeze_onnx.graph.io.model import load_model
from tests.cli.optimized import OPTIMIZED_FILES
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.holding import held
from tests.tiny_encoder import WORDS

RECIPE = 'model = "{model}"\noutput = "out"\n[optimize]\nmethod = "svd"\n'


def refused(place: Path) -> str:
    return f"squeeze-onnx: error: {place} is being written by another run: wait for it, or name another place\n"


def test_two_runs_one_of_them_killed(run_cli: RunCli, call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = model.parent / "more-text"
    text.write_text("\n".join(" ".join(pair) for pair in islice(permutations(WORDS, 2), 80)), encoding="utf-8")
    options = ["--calibration", text, "--method", "svd", "--keep", "0.5", "--distill"]
    endless = [sys.executable, "-m", "squeeze_onnx", "optimize", model, "-o", out, *options, "1000000", "--quiet"]
    with subprocess.Popen([*map(str, endless)]) as first:
        while not list(tmp_path.glob(".out.partial-*")):
            assert first.poll() is None, "it ended before it held its output"
            time.sleep(0.05)
        second = run_cli("optimize", model, "-o", out, *options, "1")
        assert (second.returncode, second.stdout, second.stderr) == (2, "", refused(out))
        assert first.poll() is None
        first.kill()
    assert {".out.lock"} < snapshot(tmp_path).keys()
    third = call_cli("optimize", model, "-o", out, *options, "1", "--quiet")
    assert (third.returncode, third.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in out.iterdir()} >= OPTIMIZED_FILES


@pytest.mark.parametrize("command", ["optimize MODEL -o OUT --method svd", "package MODEL -o OUT", "run RECIPE"])
def test_every_command_that_writes_a_folder(call_cli: RunCli, model: Path, tmp_path: Path, command: str) -> None:
    recipe = tmp_path / "squeeze.toml"
    recipe.write_text(RECIPE.format(model=model), encoding="utf-8")
    names = {"MODEL": model, "OUT": tmp_path / "out", "RECIPE": recipe}
    with held(tmp_path / "out"):
        done = call_cli(*(names.get(word, word) for word in command.split()))
    assert (done.returncode, done.stderr) == (2, refused(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"squeeze.toml"}


def test_an_archive(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    with held(tmp_path / "out.zip"):
        done = call_cli("package", model, "-o", tmp_path / "out.zip")
    assert (done.returncode, done.stderr) == (2, refused(tmp_path / "out.zip"))
    assert snapshot(tmp_path) == {}


def test_a_recipe_holds_its_output_until_its_last_step(
    call_cli: RunCli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "squeeze.toml").write_text(
        RECIPE.format(model=model) + '[package]\noutput = "out.zip"\n', encoding="utf-8"
    )
    seen = []
    monkeypatch.setattr(
        "squeeze_onnx.workflows.recipe_run._package", lambda *_, **__: seen.append((tmp_path / ".out.lock").exists())
    )
    assert call_cli("run", tmp_path / "squeeze.toml").returncode == 0
    assert seen == [True]
    assert not (tmp_path / ".out.lock").exists()


def test_one_survey_in_a_cache(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    key = survey_key(Context(load_model(model), OptimizeConfig(method="svd", keep=0.5)))
    survey = tmp_path / "cache" / f"survey-{key[:16]}.npz"
    command = ("optimize", model, "-o", tmp_path / "out", "--method", "svd", "--cache", tmp_path / "cache")
    with held(survey):
        done = call_cli(*command, "--keep", "0.5")
        assert (done.returncode, done.stderr) == (2, refused(survey))
        other = call_cli(*command, "--keep", "0.5", "--seed", "1")  # another survey
        assert (other.returncode, other.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "out"}


def test_one_checkpoint_for_two_outputs(call_cli: RunCli, model: Path, work: Path, tmp_path: Path) -> None:
    state = tmp_path / "out.distillation.npz"
    with held(state):
        done = call_cli(
            *("optimize", model, "-o", tmp_path / "a" / "out", "--calibration", work / "text", "--method", "svd"),
            *("--distill", "1", "--checkpoint", tmp_path),
        )
    assert (done.returncode, done.stderr) == (2, refused(state))
    assert snapshot(tmp_path) == {}
