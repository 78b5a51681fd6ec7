"""What `tools.fuzz` and the tests read damaged files with: every reader of a file that comes from somebody else."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.readers import read_validation
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.support.errors import SqueezeError
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.packaging.bundle import package
from squeeze_onnx.workflows.packaging.verification import verify
from squeeze_onnx.workflows.recipe import read_recipe
from tests.recipes import RECIPE
from tests.tiny_encoder import write_model_folder

GLUE = "sentence\tlabel\nthe film was good\t1\na very dull plot\t0\n"


@dataclass(frozen=True)
class Target:
    """A reader: the name of the file it reads, what it does with that, and the bytes of a good one, made in a folder."""

    file: str
    read: Callable[[Path], object]
    seed: Callable[[Path], bytes]


def _model(folder: Path) -> bytes:
    return (write_model_folder(folder / "model") / "model.onnx").read_bytes()


def _plan(folder: Path) -> bytes:
    write_model_folder(folder / "model")
    optimize(folder / "model", folder / "small", OptimizeConfig(method="svd", keep=0.5, simulations=1))
    return (folder / "small" / "plan.json").read_bytes()


def _bundle(folder: Path) -> bytes:
    write_model_folder(folder / "model")
    package(folder / "model", folder / "bundle.zip")
    return (folder / "bundle.zip").read_bytes()


def _read_model(path: Path) -> None:
    for site in find_sites(load_model(path).ir).sites:
        site.weight.numpy()


TARGETS = {
    "model": Target("model.onnx", _read_model, _model),
    "plan": Target("plan.json", read_plan, _plan),
    "recipe": Target("squeeze.toml", read_recipe, lambda folder: RECIPE.encode()),
    "glue": Target(
        "SST-2/dev.tsv", lambda path: read_validation(TASKS["sst2"], path.parent.parent), lambda folder: GLUE.encode()
    ),
    "bundle": Target("bundle.zip", verify, _bundle),
}


def seed_of(target: Target) -> bytes:
    """Return a good file."""
    with tempfile.TemporaryDirectory() as folder:
        return target.seed(Path(folder))


def attempt(target: Target, folder: Path, data: bytes) -> bool:
    """Read ``data`` as a file in ``folder``; return whether the reader took it. What is no documented error passes through."""
    path = folder / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        target.read(path)
    except SqueezeError:
        return False
    return True
