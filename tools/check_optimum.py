"""squeeze-onnx beside optimum-onnx in environments of their own, installed as a wheel and editable, on a real checkpoint.

    python -m tools.check_optimum ~/.cache/squeeze-onnx/models/minilm-l6/hf [--how wheel] [--how editable]

CHECKPOINT is a transformers folder of a sentence encoder. For each way to install, a new virtual environment gets squeeze-onnx
with its extras ``cpu`` and ``optimum``; there optimum-cli shows its help, exports, exports and squeezes, and squeezes what it
exported, and `ORTSqueezer` and `ORTModelForFeatureExtraction` read that. Wants a package index; prints what is tried, and stops
at the first step that fails.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tools.row_files import ROOT

INSTALLS = ("wheel", "editable")
EXTRAS = "[cpu,optimum]"

IN_PYTHON = """
import sys
from pathlib import Path
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer
import squeeze_onnx
from squeeze_onnx import OptimizeConfig
from squeeze_onnx.integrations.optimum import ORTSqueezer
print(squeeze_onnx.__file__)
dense = ORTModelForFeatureExtraction.from_pretrained("exported")
ORTSqueezer.from_pretrained(dense).squeeze(OptimizeConfig(method="svd", keep=0.5), save_dir="from-python")
tokens = AutoTokenizer.from_pretrained("from-python")("the film was good", return_tensors="pt")
shapes = set()
for folder in ("exported", "in-one-go", "squeezed", "from-python"):
    model = ORTModelForFeatureExtraction.from_pretrained(folder)
    shapes.add(tuple(model(**tokens).last_hidden_state.shape))
assert len(shapes) == 1, shapes
sizes = {folder: Path(folder, "model.onnx").stat().st_size for folder in ("exported", "in-one-go", "squeezed", "from-python")}
assert max(sizes[name] for name in sizes if name != "exported") < sizes["exported"], sizes
print(sizes)
"""


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True))
@click.option("--how", "ways", multiple=True, type=click.Choice(INSTALLS), help="Only this way to install.")
def main(checkpoint: Path, ways: Sequence[str]) -> None:
    """Install, and try what a user of optimum does with CHECKPOINT."""
    for way in ways or INSTALLS:
        with tempfile.TemporaryDirectory(prefix=f"check-optimum-{way}-") as folder:
            programs = install(Path(folder), way)
            work = Path(folder) / "work"
            work.mkdir()
            for command in commands(checkpoint.resolve()):
                run([programs / command[0], *command[1:]], work)
            run([programs / "python", "-c", IN_PYTHON], work)
        click.echo(f"{way}: all of it works")


def install(folder: Path, way: str) -> Path:
    """Make a virtual environment in ``folder`` with squeeze-onnx installed ``way``; return the folder of its programs."""
    run([sys.executable, "-m", "venv", folder / "environment"], folder)
    programs = folder / "environment" / "bin"
    source = [f"{build_wheel(programs, folder)}{EXTRAS}"] if way == "wheel" else ["--editable", f"{ROOT}{EXTRAS}"]
    run([programs / "pip", "install", "--quiet", *source, *pinned()], folder)
    run([programs / "pip", "check"], folder)
    return programs


def build_wheel(programs: Path, folder: Path) -> Path:
    """Return the wheel of this repository, built in ``folder``."""
    run([programs / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", ROOT], folder)
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def pinned() -> list[str]:
    """Return the requirement of torch that the tests pin: a version that has a CPU build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [wanted for wanted in project["optional-dependencies"]["test"] if wanted.startswith("torch==")]


def commands(checkpoint: Path) -> Iterator[tuple[str | Path, ...]]:
    """Yield what is called in an empty folder."""
    yield "optimum-cli", "--help"
    yield "optimum-cli", "export", "--help"
    yield "optimum-cli", "export", "squeeze", "--help"
    yield "optimum-cli", "export", "onnx", "--help"
    yield "optimum-cli", "onnxruntime", "quantize", "--help"
    yield "optimum-cli", "env"
    export = ("--model", checkpoint, "--task", "feature-extraction")
    yield "optimum-cli", "export", "onnx", *export, "exported"
    yield "optimum-cli", "export", "squeeze", *export, "--method", "svd", "--keep", "0.5", "in-one-go"
    yield "optimum-cli", "export", "squeeze", "--model", "exported", "--method", "svd", "--keep", "0.5", "squeezed"
    yield "optimum-cli", "onnxruntime", "quantize", "--onnx_model", "squeezed", "--avx2", "-o", "quantized"


def run(command: Sequence[object], folder: Path) -> None:
    """Run ``command`` in ``folder`` with nothing of this checkout on the path; its output is shown only if it fails."""
    shown = " ".join(str(word) for word in command[:8])
    click.echo(shown if "\n" not in shown else f"{command[0]} -c …")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise click.ClickException(f"{shown} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    main()
