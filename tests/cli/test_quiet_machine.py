"""What leaves this machine, and what is left on it: nothing, by any command that is not asked to fetch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STRACE = shutil.which("strace")

pytestmark = pytest.mark.skipif(STRACE is None, reason="needs strace on the PATH")


def traced(arguments: list[str | Path], home: Path, log: Path) -> list[str]:
    """Run ``arguments`` with a fresh HOME and return the network calls that name an address of the internet."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "CI"))}
    done = subprocess.run(
        [str(STRACE), "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(log), *map(str, arguments)],
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in log.read_text(errors="replace").splitlines() if "AF_INET" in line]


def test_commands_call_nobody_and_leave_no_file_in_home(work: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "squeeze_onnx"]
    model, out, bundle = work / "model", tmp_path / "out", tmp_path / "bundle"
    commands: dict[str, list[str | Path]] = {
        "analyze": [*program, "analyze", model],
        "optimize": [*program, "optimize", model, "-o", out, "--keep", "0.5", "--calibration", work / "text"],
        "validate": [*program, "validate", model, out],
        "bench": [*program, "bench", out, *("--against", "openvino", "--sequence-length", "8", "--rounds", "1")],
        "package": [*program, "package", out, "-o", bundle, "--form", "onnx"],
        "run.py": [sys.executable, bundle / "run.py"],
    }
    for name, arguments in commands.items():
        home = tmp_path / f"home of {name}"
        assert traced(arguments, home, tmp_path / f"{name}.log") == [], name
        assert [str(path) for path in home.rglob("*") if path.is_file()] == [], name
