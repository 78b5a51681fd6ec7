"""How the command line feels: sections in its help, colours only where somebody sees them, and always a next step."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

from squeeze_onnx.cli.console import StageLines
from squeeze_onnx.cli.sections import HELP_ALL, SectionedCommand
from squeeze_onnx.compress.method_names import METHOD_NAMES
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.support.readable import readable_bytes, readable_seconds
from tests.conftest import RunCli

COLOUR = re.compile(r"\x1b\[[\d;]*\b(3[0-7]|4[0-7]|9[0-7]|38|48)[;m]")
ESCAPE = re.compile(r"\x1b\[")


def test_help_names_every_method() -> None:
    assert tuple(METHODS) == METHOD_NAMES


@pytest.mark.parametrize("name", ["optimize", "validate", "bench"])
def test_every_option_stands_in_one_section(name: str) -> None:
    command = getattr(import_module(f"squeeze_onnx.cli.{name}"), name)
    assert isinstance(command, SectionedCommand)
    context = click.Context(command)
    context.meta[HELP_ALL] = True
    formatter = context.make_formatter()
    command.format_options(context, formatter)
    text = formatter.getvalue()
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option):
            assert len(re.findall(rf"^  (-\w, )?{parameter.opts[-1]}\b(?!-)", text, re.MULTILINE)) == 1, parameter.opts
    for title in command.sections:
        assert f"{title}:\n" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.9, "1 min 0 s"), (185, "3 min 5 s"), (7830, "2 h 10 min")],
)
def test_seconds_are_for_people(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 B"), (1500, "1.5 kB"), (90.4e6, "90.4 MB"), (2e12, "2000.0 GB")]
)
def test_bytes_are_for_people(count: float, text: str) -> None:
    assert readable_bytes(count) == text


@pytest.fixture(scope="module")
def bundle(run_cli: RunCli, model: Path, work: Path) -> Path:
    assert run_cli("package", model, "-o", work / "bundle.zip", "--form", "onnx").returncode == 0
    return work / "bundle.zip"


STEPS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "analyze": lambda work, out: ("analyze", work / "model"),
    "optimize": lambda work, out: ("optimize", work / "model", "-o", out, "--method", "svd"),
    "validate": lambda work, out: ("validate", work / "model", work / "model"),
    "bench": lambda work, out: (
        *("bench", work / "model", work / "model", "--rounds", "1", "--no-memory"),
        *("--batch-size", "1", "--sequence-length", "5"),
    ),
    "doctor": lambda work, out: ("doctor",),
    "package": lambda work, out: ("package", work / "model", "-o", out, "--form", "onnx"),
    "verify": lambda work, out: ("verify", work / "bundle.zip"),
    "run": lambda work, out: ("run", work / "squeeze.toml", "--force"),
}
WITHOUT_JSON = {"package", "verify"}


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("command", STEPS)
def test_ends_with_the_next_step_unless_a_machine_reads(
    call_cli: RunCli, work: Path, tmp_path: Path, command: str
) -> None:
    (work / "squeeze.toml").write_text(
        'model = "model"\noutput = "from-recipe"\n[optimize]\nmethod = "svd"\n', encoding="utf-8"
    )
    done = call_cli(*STEPS[command](work, tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("Next: ")
    if command not in WITHOUT_JSON:
        silent = call_cli(*STEPS[command](work, tmp_path / "again"), "--json", "-")
        assert silent.returncode == 0, silent.stderr
        json.loads(silent.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are those of Unix")
@pytest.mark.parametrize(
    ("environment", "colour", "escape"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
    ids=["terminal", "NO_COLOR", "dumb terminal"],
)
def test_a_terminal_has_colours_unless_told_otherwise(
    model: Path, environment: dict[str, str], colour: bool, escape: bool
) -> None:
    shown = on_a_terminal("validate", str(model), str(model), **environment)
    assert "Likeness" in shown
    assert (bool(COLOUR.search(shown)), bool(ESCAPE.search(shown))) == (colour, escape)


def test_a_pipe_has_none(run_cli: RunCli, model: Path) -> None:
    done = run_cli("validate", model, model, TERM="xterm-256color")
    assert done.returncode == 0
    assert not ESCAPE.search(done.stdout + done.stderr)


def test_a_pipe_has_a_line_for_each_stage_of_a_long_run(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 5, 10, 31, 40, 41, 50, 60, 61, 75, 100])
    track = StageLines(30, lambda: next(seconds))
    for stage in ("Calibration", "Spectra"):
        assert list(track([1, 2], stage)) == [1, 2]
    assert list(track([1, 2], "Refitting")) == [1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "31 s: Calibration: 1 of 2 done",
        "41 s: Spectra: 0 of 2 done",
        "1 min 1 s: Refitting: 0 of 2 done",
    ]


def test_a_pipe_is_told_how_long_a_long_stage_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 5, 10, 40, 50])
    assert list(StageLines(30, lambda: next(seconds))([1, 2, 3], "Distillation")) == [1, 2, 3]
    assert capsys.readouterr().err.splitlines() == ["40 s: Distillation: 1 of 3 done, about 1 min 10 s left"]


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """Return what a command writes to a terminal, on stdout and stderr."""
    quiet = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "squeeze_onnx", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**quiet, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(theirs)
        written = b"".join(iter(lambda: _read(ours), b""))
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux: the other side is closed
        return b""
