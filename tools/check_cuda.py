"""What squeezing is worth on CUDA, and whether it computes the same there: parity, fp16, and the bench grid.

    python -m tools.check_cuda prepare FOLDER                       where optimum is: BERT-base and BERT-large without weights
    python -m tools.check_cuda run FOLDER [--provider cuda]         where the device is: numpy, onnx, onnx-ir, onnxruntime-gpu

``prepare`` exports each architecture and leaves its large weights out, so that the files are a few MB and travel to a machine
that has nothing. ``run`` draws the weights anew (seeded), writes the dense model, ONNX Runtime's fused one, and the model
and squeezed in three ways (see tools/bench_precision.py) in fp32 and fp16, and writes models/NAME/results/cuda-DEVICE.json:

- parity: how far the fp32 outputs on the device are from those on the CPU, with TF32 off, over their standard deviation;
- fp16: the cosine between each token's features in fp16 on the device and in fp32 on the CPU, mean and least;
- bench: every model in turns over the grid of batch size × length, as ``squeeze-onnx bench`` does.

Random weights say nothing of the quality of a squeezed model; ``squeeze-onnx validate --provider cuda`` on a real one does.
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

from squeeze_onnx.compress.precision import PRECISIONS, Evidence
from squeeze_onnx.data.similarity import cosine
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.graph.fused.fusion import fuse
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.runtime.providers import PROVIDERS, resolve_provider
from squeeze_onnx.runtime.rivals import fuse_dense
from squeeze_onnx.runtime.sessions import SessionSettings, open_session
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.errors import ProviderError
from tools.bench_precision import SQUEEZES, export
from tools.row_files import ROOT

SHAPES = {"bert-base-shapes": (768, 12), "bert-large-shapes": (1024, 24)}
"""Name of the results → hidden size and layers."""

LEAST_LEFT_OUT = 10_000
"""Entries from which on a weight is left out of the file, and drawn where it is run."""

WORDS = 30
"""Different tokens in what parity is measured on; every vocabulary has as many."""

GRID = {"batch_sizes": (1, 8, 32), "sequence_lengths": (32, 128, 384)}


@dataclass(frozen=True)
class Candidate:
    """One model file, and whether its numbers are fp32."""

    name: str
    path: Path
    is_fp32: bool


@click.group()
def main() -> None:
    """Prepare here, run where the device is."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--shape", "shapes", multiple=True, type=click.Choice(list(SHAPES)), default=list(SHAPES))
def prepare(folder: Path, shapes: tuple[str, ...]) -> None:
    """Write FOLDER/NAME.onnx, a model without its large weights, for each architecture."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in shapes:
        with tempfile.TemporaryDirectory() as exported:
            model = onnx.load(export(Path(exported), *SHAPES[name]) / "model.onnx")
        strip(model)
        onnx.save(model, folder / f"{name}.onnx")
        click.echo(f"{folder / name}.onnx: {(folder / f'{name}.onnx').stat().st_size / 1e6:.1f} MB")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--provider", type=click.Choice(list(PROVIDERS)), default="cuda", show_default=True)
@click.option("--rounds", default=10, show_default=True)
@click.option("--batch-size", "batch_sizes", type=int, multiple=True, default=GRID["batch_sizes"], show_default=True)
@click.option(
    "--sequence-length", "lengths", type=int, multiple=True, default=GRID["sequence_lengths"], show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results, instead of models/NAME/results.")
def run(
    *,
    folder: Path,
    provider: str,
    rounds: int,
    batch_sizes: tuple[int, ...],
    lengths: tuple[int, ...],
    out: Path | None,
) -> None:
    """Measure every model of FOLDER, and write what was measured."""
    try:
        resolve_provider(provider)
    except ProviderError as error:
        raise click.ClickException(str(error)) from error
    config = BenchConfig(
        provider=provider, batch_sizes=batch_sizes, sequence_lengths=lengths, rounds=rounds, tf32=False, memory=False
    )
    skeletons = sorted(folder.glob("*.onnx"))
    if not skeletons:
        raise click.ClickException(f"{folder} holds no .onnx file: python -m tools.check_cuda prepare {folder}")
    for skeleton in skeletons:
        with tempfile.TemporaryDirectory() as made:
            document = measure(list(candidates(skeleton, Path(made), provider)), config)
        results = (out or ROOT / "models" / skeleton.stem / "cuda") / f"{provider}-{device_of(provider)}.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(document, indent=1) + "\n")
        click.echo(f"{results}\n{json.dumps({'parity': document['parity'], 'fp16': document['fp16']}, indent=1)}")


def strip(model: onnx.ModelProto) -> None:
    """Leave the entries of all large floating-point weights out of ``model``."""
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and int(np.prod(weight.dims)) >= LEAST_LEFT_OUT:
            weight.ClearField("raw_data")
            weight.ClearField("float_data")


def fill(model: onnx.ModelProto, seed: int = 0) -> None:
    """Draw what `strip` left out: normal, standard deviation 1/√rows, so that no layer grows what it reads."""
    random = np.random.default_rng(seed)
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and int(np.prod(weight.dims)) >= LEAST_LEFT_OUT:
            entries = random.standard_normal(tuple(weight.dims), dtype=np.float32) / np.sqrt(weight.dims[0])
            weight.CopyFrom(onnx.numpy_helper.from_array(entries.astype(np.float32), weight.name))


def candidates(skeleton: Path, folder: Path, provider: str) -> Iterator[Candidate]:
    """Write the dense model first, then everything that is held against it."""
    model = onnx.load(skeleton)
    fill(model)
    dense = folder / "dense.onnx"
    onnx.save(model, dense)
    yield Candidate("dense fp32", dense, is_fp32=True)
    fused = folder / "fused.onnx"
    fuse_dense(dense, fused)
    yield Candidate("dense fp32, ORT fused", fused, is_fp32=True)
    for shape, squeeze in {"dense": lambda model: None, **SQUEEZES}.items():
        for precision in ("fp32", "fp16"):
            path = folder / f"{shape}-{precision}.onnx"
            squeezed = load_model(dense).ir
            squeeze(squeezed)
            kind = PRECISIONS[precision]
            fuse(squeezed, provider, weights_apart=kind.weights_apart)
            save_model(kind().lower(squeezed, Evidence()).model, path)
            yield Candidate(f"{shape}, {precision}, --fuse {provider}", path, is_fp32=precision == "fp32")


def measure(models: list[Candidate], config: BenchConfig) -> dict[str, Any]:
    """Return parity, fp16 and the bench of ``models``, each fp32 before its fp16; speed is held against the first."""
    parity: dict[str, float] = {}
    fp16: dict[str, dict[str, float]] = {}
    on_cpu: dict[str, np.ndarray] = {}
    length = max(config.sequence_lengths)
    for model in models:
        found = outputs(model.path, config.provider, length)
        if model.is_fp32:
            expected = on_cpu[model.name] = outputs(model.path, "cpu", length)
            parity[model.name] = float(np.abs(found - expected).max() / expected.std())
        else:
            same = cosine(on_cpu[model.name.replace("fp16", "fp32")], found)
            fp16[model.name] = {"mean": float(same.mean()), "least": float(same.min())}
    measured = bench([model.path for model in models], config).to_json()
    for model, row in zip(models, measured["models"], strict=True):
        row["name"] = model.name
    return {"parity": parity, "fp16": fp16, **measured, "environment": environment()}


def outputs(path: Path, provider: str, length: int) -> np.ndarray:
    """Return the first output of the model on 4 drawn sequences of ``length``, (tokens, features) in float64."""
    session = open_session(path, provider, SessionSettings(use_tf32=False))
    ids = np.random.default_rng(1).integers(0, WORDS, (4, length))
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    [first, *_] = session.run(None, {value.name: given[value.name] for value in session.inputs})
    return first.astype(np.float64).reshape(-1, first.shape[-1])


def device_of(provider: str) -> str:
    """Name the device in a way that a file can be called."""
    if provider == "cpu":
        return re.sub(r"\W+", "-", str(environment()["machine"])).strip("-").lower()
    name = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, check=True)
    return re.sub(r"\W+", "-", name.stdout.decode().splitlines()[0]).strip("-").lower()


if __name__ == "__main__":
    main()
