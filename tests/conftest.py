"""What all tests share: where GLUE lies, where built models are cached, how the command line is called."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A process for every core is enough: products of matrices in threads of their own would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

RunCli = Callable[..., subprocess.CompletedProcess[str]]


def without_stage_lines(stderr: str) -> str:
    """Leave out what a run that takes long says of its stages: how long a run takes is the machine's business."""
    return re.sub(r"^[^:\n]+(?:s|min): [^\n]+: \d+ of \d+ done\n", "", stderr, flags=re.MULTILINE)


# A test run draws the same examples each time, so that what passes once passes again; ``--hypothesis-profile explore``
# looks for new ones, and what it finds becomes an example of its own.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def glue() -> Path:
    """The GLUE folder that SQUEEZE_GLUE names."""
    folder = os.environ.get("SQUEEZE_GLUE")
    if not folder:
        pytest.skip("SQUEEZE_GLUE is not set: point it at a folder of GLUE splits")
    return Path(folder)


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """Where models built for the tests stay between runs: SQUEEZE_CACHE, or ~/.cache/squeeze-onnx."""
    folder = Path(os.environ.get("SQUEEZE_CACHE", Path.home() / ".cache" / "squeeze-onnx"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """Call ``squeeze-onnx`` in a subprocess, as a user does; returns the completed process."""

    def run(*arguments: str | Path, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "squeeze_onnx", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **environment},
        )
        done.stderr = without_stage_lines(done.stderr)
        return done

    return run


@pytest.fixture
def call_cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunCli:
    """Do as ``run_cli``, but in this process: without the second that a new one takes to import everything."""
    from squeeze_onnx.cli import main

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["squeeze-onnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        status = caught.value.code or 0
        assert isinstance(status, int)
        stdout, stderr = capfd.readouterr()
        return subprocess.CompletedProcess(sys.argv, status, stdout, without_stage_lines(stderr))

    return call
