import re
import subprocess
import sys

import pytest

from squeeze_onnx import __version__
from squeeze_onnx.cli import COMMANDS
from squeeze_onnx.cli.optimize_sections import FIRST_SCREEN
from tests.conftest import RunCli


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)], ids=["no argument", "--help", "-h"])
def test_help_lists_the_commands(run_cli: RunCli, arguments: tuple[str, ...]) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert f"squeeze-onnx {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_its_options(run_cli: RunCli, command: str) -> None:
    done = run_cli(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: squeeze-onnx {command} ")
    assert ("--help-all" if command == "optimize" else "--verbose") in done.stdout


def test_the_first_screen_of_optimize_is_short(run_cli: RunCli) -> None:
    def options_in(screen: str) -> list[str]:
        return re.findall(r"^  (?:-\w, )?(--[\w-]+)", screen, re.MULTILINE)

    first = options_in(run_cli("optimize", "--help").stdout)
    everything = options_in(run_cli("optimize", "--help-all").stdout)
    assert len(first) <= 15
    assert set(FIRST_SCREEN) | {"--quiet", "--help-all", "--help"} == set(first)
    assert set(first) < set(everything)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("optimise", "model"), "did you mean optimize?"),
        (("optimize", "model", "-o", "out", "--keep", "50%"), "did you mean 0.5?"),
        (("optimize", "model", "-o", "out", "--precision", "fp8"), "did you mean fp"),
        (("optimize", "model", "-o", "out", "--method", "whitening"), "did you mean whiten?"),
    ],
)
def test_a_mistyped_word_is_told_what_may_have_been_meant(
    run_cli: RunCli, arguments: tuple[str, ...], hint: str
) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert hint in done.stderr


@pytest.mark.parametrize("command", ["analyze", "optimize", "validate", "bench", "package"])
def test_many_options_come_in_sections(run_cli: RunCli, command: str) -> None:
    lines = run_cli(command, "--help-all" if command == "optimize" else "--help").stdout.splitlines()
    assert lines.index("Other:") > lines.index("What is written:")
    assert lines[lines.index("Other:") + 1].startswith("  -")


def test_the_version_is_that_of_the_package(run_cli: RunCli) -> None:
    assert run_cli("--version").stdout == f"squeeze-onnx, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("squash",), "'squash'"),
        (("optimize",), "'MODEL'"),
        (("optimize", "model"), "'--output'"),
        (("optimize", "model", "-o", "out", "--rank", "3"), "no option --rank; did you mean --rank-rule?"),
        (("optimize", "model", "-o", "out", "--keep", "half"), "'half' is not a valid float"),
        (("optimize", "model", "-o", "out", "--seed", "1.5"), "'--seed'"),
        (("analyze", "model", "another"), "another"),
        (("analyze", "model", "--json"), "'--json'"),
    ],
    ids=[
        "unknown command",
        "no model",
        "no output",
        "unknown option",
        "no number",
        "no integer",
        "too much",
        "no value",
    ],
)
def test_a_slip_of_the_keyboard_is_status_2_and_one_sentence(
    run_cli: RunCli, arguments: tuple[str, ...], fault: str
) -> None:
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("squeeze-onnx: error: ")
    assert fault in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_waits_for_no_numeric_library() -> None:
    code = (
        "import sys; from squeeze_onnx.cli import COMMANDS, cli\n"
        "for command in ('', *COMMANDS): cli.main([*filter(None, [command]), '--help'], standalone_mode=False)\n"
        "print({'numpy', 'onnx_ir', 'onnxruntime', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_shell_completes_commands_and_options(run_cli: RunCli) -> None:
    def completed(words: str, number: int) -> list[str]:
        asked = {"_SQUEEZE_ONNX_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        return run_cli(**asked).stdout.split()

    assert completed("squeeze-onnx opt", 1) == ["plain,optimize"]
    assert completed("squeeze-onnx verify --sha", 2) == ["plain,--sha256"]
