"""The oldest versions that pyproject.toml allows: the command line's tests in a fresh environment with nothing newer.

    python tools/minimal_versions.py [TEST …]

Needs Python's venv and a package index, and nothing installed.
"""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
RUNNERS = ("pytest", "hypothesis", "jsonschema")
TESTS = tuple(
    f"tests/cli/test_{name}.py" for name in ("analyze", "bench", "budget", "package", "precision", "validate")
)
NEEDS_MORE = "opponents"  # the oldest onnxruntime fuses with the help of torch


def main(tests: list[str]) -> int:
    """Run ``tests``, or `TESTS`; returns their exit status."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    with TemporaryDirectory() as folder:
        constraints = Path(folder) / "oldest.txt"
        constraints.write_text("\n".join(map(_oldest, required)), encoding="utf-8")
        environment = Path(folder) / "environment"
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        install = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "-c",
            str(constraints),
            "-e",
            f"{ROOT}[cpu,parquet,zstd]",
            *RUNNERS,
        ]
        subprocess.run(install, check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        chosen = tests or [*TESTS, "-k", f"not {NEEDS_MORE}"]
        return subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen], cwd=ROOT, check=False
        ).returncode


def _oldest(requirement: str) -> str:
    """Return ``numpy==2.0`` for ``numpy>=2.0``."""
    found = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement)
    if found is None:
        raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound and nothing else")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
