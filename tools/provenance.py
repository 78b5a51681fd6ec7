"""Where a row comes from: the commit of the code, the machine, and the versions of what computed it."""

import subprocess
from pathlib import Path

from squeeze_onnx.support.environment import environment
from tools.row_files import ROOT
from tools.rows import Machine, Origin

CODE = ("squeeze_onnx", "tools", "pyproject.toml")
"""What a measured number depends on, of all that lies in the repository."""


def git(*arguments: str, root: Path = ROOT) -> str | None:
    """Return what a command of git prints; None where it fails, as outside a repository."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def commit_now(root: Path = ROOT) -> tuple[str | None, Origin]:
    """Return the commit of the checkout (None: there is no repository), and whether its code is as committed."""
    changes = git("status", "--porcelain", "--", *CODE, root=root)
    return git("rev-parse", "HEAD", root=root), "ran" if changes == "" else "changed"


def code_at(commit: str | None, root: Path = ROOT) -> str | None:
    """Return the hash of the package at ``commit``: what two commits with the same code agree in. None if it is not known."""
    return None if commit is None else git("rev-parse", f"{commit}:squeeze_onnx", root=root)


def machine_now(threads: int | None) -> Machine:
    """Return what this process runs on; ``threads``: how many it was told to use, None for all."""
    found = environment()
    return Machine(found["processor"], tuple(found["instruction_sets"]), found["processors"], threads)


def versions_now() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    found = environment()
    return {"python": found["python"], **found["packages"]}
