"""What leaves this machine, and what is left on it: nothing but what was asked for, by any command that is not asked to fetch."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from squeeze_onnx.cli import COMMANDS
from tests.tiny_encoder import SENTENCES, WORDS

STRACE = shutil.which("strace")
CALLS = "connect,sendto,sendmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
WRITES = re.compile(
    r"O_WRONLY|O_RDWR|O_CREAT|\b(?:creat|mkdir|mkdirat|rename|renameat|renameat2|link|linkat|symlink\w*)\("
)
PRICES = Path(".cache") / "squeeze-onnx" / "latency"
"""What SECURITY.md says that stays in HOME: how long products take on this machine."""

RECIPE = """
model = "{model}"
output = "{made}/by recipe"
[optimize]
keep = 0.5
method = "svd"
[validate]
[package]
output = "{made}/bundle of it"
"""

needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace on the PATH")
ELSEWHERE = {"demo": "fetches wheels, as it says: tests/workflows/test_demo.py"}


def commands(work: Path, made: Path) -> dict[str, list[str | Path]]:
    """Return command lines by name; they write into the folder ``made``, and later ones read what earlier ones wrote."""
    program = [sys.executable, "-m", "squeeze_onnx"]
    model, out, bundle, recipe = work / "model", made / "out", made / "bundle", made / "squeeze.toml"
    text = made / "text"
    text.write_text("\n".join(f"{word} {sentence}" for sentence in SENTENCES for word in WORDS), encoding="utf-8")
    recipe.write_text(RECIPE.format(model=model, made=made), encoding="utf-8")
    learning = ("--calibration", text, "--distill", "2", "--precision", "int8")
    pages = ("--json", made / "found.json", "--html", made / "found.html")
    return {
        "analyze": [*program, "analyze", model, *pages],
        "optimize": [*program, "optimize", model, "-o", out, "--keep", "1", "--objective", "latency", *learning],
        "validate": [*program, "validate", model, out, *pages],
        "bench": [*program, "bench", model, *("--against", "openvino", "--sequence-length", "8", "--rounds", "1")],
        "package": [*program, "package", out, "-o", bundle, "--form", "onnx"],
        "verify": [*program, "verify", bundle],
        "run": [*program, "run", recipe],
        "doctor": [*program, "doctor"],
        "run.py": [sys.executable, bundle / "run.py"],
    }


def traced(arguments: Sequence[str | Path], place: Path) -> list[str]:
    """Run ``arguments`` with HOME, temporary and current folders of their own in ``place``; return the calls that were made."""
    for name in ("home", "tmp", "here"):
        (place / name).mkdir(parents=True)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "CI", "SQUEEZE_"))
    }
    own = {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    log = place / "calls"
    done = subprocess.run(
        [str(STRACE), "-f", "--seccomp-bpf", "-qq", "-y", "-e", f"trace={CALLS}", "-o", str(log), *map(str, arguments)],
        env={**kept, **own},
        cwd=place / "here",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return log.read_text(errors="replace").splitlines()


def written(calls: Sequence[str], here: Path) -> set[Path]:
    """Return the files and folders that successful ``calls`` opened for writing, made or renamed; devices are none."""
    paths = [
        here / path
        for call in calls
        if WRITES.search(call) and not re.search(r"= -1 |unfinished", call)
        for path in re.findall(r'"([^"]*)"', call)
    ]
    return {path for path in paths if not path.is_relative_to("/dev") and not path.is_relative_to("/proc")}


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@needs_strace
def test_commands_call_nobody_and_leave_nothing_but_what_was_asked_for(work: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for name, arguments in commands(work, made).items():
        place = tmp_path / f"place of {name}"
        calls = traced(arguments, place)
        assert [call for call in calls if "AF_INET" in call or "nscd" in call] == [], name
        allowed = (made, place / "tmp", place / "home" / PRICES)
        stray = [path for path in written(calls, place / "here") if not any(map(path.is_relative_to, allowed))]
        parents = [place / "home", *(place / "home" / part for part in PRICES.parents)]
        assert [path for path in stray if path not in parents] == [], name
        assert files_in(place / "tmp") + files_in(place / "here") == [], name
        assert all(file.is_relative_to(place / "home" / PRICES) for file in files_in(place / "home")), name


def test_every_command_is_watched(tmp_path: Path) -> None:
    assert {"run.py", *COMMANDS} == {*commands(tmp_path, tmp_path), *ELSEWHERE}
