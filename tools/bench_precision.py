"""How fast and how small a squeezed model is in each precision, against what onnxruntime makes of the dense one.

    python -m tools.bench_precision [--threads 2] [--hidden 768 --layers 12] [--row LABEL]

Builds a BERT with the shapes of BERT-base and random weights, makes its encoder smaller as `SQUEEZES` says, writes every
precision of each, times all in turns (`evaluate.benchmark`) and writes models/bert-base-shapes/results/precision.json.
``sliced`` is what `whiten` does by itself: half of the neurons, 24 of 64 dimensions of a head for query and key, 40 for value
and output. ``factored`` is one global budget with ranks only: query and key at 88, attention output at 216, FFN at 304, value
dense. Both keep 50 % of the encoder; ``sliced to a third`` keeps 33 %: a third of the neurons, 16 and 24 of 64 dimensions.
Random weights say nothing of quality: ``squeeze-onnx validate`` on a real model does.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision import PRECISIONS, Evidence
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.graph.fused.fusion import fuse
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.match.attention_heads import find_query_keys, find_value_outputs
from squeeze_onnx.graph.match.feed_forward import find_feed_forwards
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.runtime.quantizers import quantize_int8
from squeeze_onnx.runtime.rivals import fuse_dense
from tools.measuring import Clock, Recorder, row_options
from tools.row_files import rows_of

BASELINE = "dense, ORT dynamic int8"
FUSED = "dense fp32, ORT fused"

IN_TURNS: Mapping[str, Sequence[str]] = {"fp32 and int8": ("fp32", "int8"), "int4": ("int4",)}
"""Label of a row → parts of the names of the models that are timed in turns for it, next to the dense ones."""

RANKS = {Role.QUERY: 88, Role.KEY: 88, Role.ATTENTION_OUTPUT: 216, Role.FFN_IN: 304, Role.FFN_OUT: 304}
"""Of a hidden size of 768."""


@dataclass(frozen=True)
class Slices:
    """What stays: neurons, over all of them, and dimensions of each head for query and key, and for value and output; of 64."""

    neurons: float
    head_widths: tuple[int, int]


HALF = Slices(1 / 2, (24, 40))
THIRD = Slices(1 / 3, (16, 24))


@click.command()
@row_options
@click.option("--hidden", default=768, show_default=True)
@click.option("--layers", default=12, show_default=True)
@click.option("--rounds", default=8, show_default=True)
def main(*, hidden: int, layers: int, rounds: int, recorder: Recorder) -> None:
    """Build, measure, and keep rows in models/bert-base-shapes/results/precision.json."""
    for label in filter(recorder.wants, IN_TURNS):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            paths = dict(build(Path(folder), hidden, layers, IN_TURNS[label]))
            config = BenchConfig(threads=recorder.threads, rounds=rounds, memory=False)
            measured = bench(list(paths.values()), config).to_json()
        for name, model in zip(paths, measured["models"], strict=True):
            model["name"] = name
        sizes = *("--hidden", str(hidden)), *("--layers", str(layers)), *("--rounds", str(rounds))
        threads = () if recorder.threads is None else ("--threads", str(recorder.threads))
        command = ("tools.bench_precision", *threads, *sizes)
        values = {key: measured[key] for key in ("models", "shapes", "settings")}
        recorder.keep("bert-base-shapes/precision", label, command, values, {}, seconds=clock.lap(), speed=True)


def build(folder: Path, hidden: int, layers: int, wanted: Sequence[str] = ()) -> Iterator[tuple[str, Path]]:
    """Write every model to a folder of its own; yield its name and the folder, the baseline first."""
    dense = export(folder / "dense", hidden, layers)

    def written(name: str, make: Callable[[Path], None]) -> tuple[str, Path]:
        target = folder / name.replace(" ", "-").replace(",", "")
        target.mkdir()
        copy_companions(find_repository(dense), target)
        make(target / "model.onnx")
        return name, target

    yield written(BASELINE, lambda path: quantize_int8(dense / "model.onnx", path))
    yield written(FUSED, lambda path: fuse_dense(dense / "model.onnx", path))
    for shape, squeeze in SQUEEZES.items():
        for precision in ("fp32", "fp16", "int8", "int8-int4", "int4"):
            for fused in (False, True):
                label = f"{shape}, {precision}{', --fuse cpu' if fused else ''}"
                if not wanted or any(text in label for text in wanted):
                    yield written(label, lambda path, how=(squeeze, precision, fused): _write(dense, path, *how))  # type: ignore[misc]


def _write(dense: Path, path: Path, squeeze: Callable[[ir.Model], None], precision: str, fused: bool) -> None:
    model = load_model(dense).ir
    squeeze(model)
    kind = PRECISIONS[precision]
    if fused:
        fuse(model, "cpu", weights_apart=kind.weights_apart)
    save_model(kind().lower(model, Evidence()).model, path)


def export(folder: Path, hidden: int, layers: int) -> Path:
    """Export a BERT with random weights, as optimum does."""
    from optimum.exporters.onnx import onnx_export_from_model
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        architectures=["BertModel"],
    )
    onnx_export_from_model(BertModel(config).eval(), folder, task="feature-extraction", do_validation=False)
    return folder


def slice_to(slices: Slices, model: ir.Model) -> None:
    """Keep the first neurons and the first dimensions of all heads of ``model``, which changes in place."""
    for feed_forward in find_feed_forwards(find_sites(model).sites):
        kept = np.arange(round(feed_forward.columns * slices.neurons))
        Rewriter(model).slice(feed_forward, kept, feed_forward.after.weight.numpy()[kept])
    for find, width in zip((find_query_keys, find_value_outputs), slices.head_widths, strict=True):
        for block in find(find_sites(model).sites):
            columns = block.heads * (block.columns // block.heads * width // 64)
            shapes = block.shapes(columns)
            weights = {site.name: site.weight.numpy() for site in block.sites}
            biases = {each.site.name: each.bias.tensor.numpy()[:columns] for each in block.before if each.bias}
            first = {name: weights[name][:rows, :features] for name, (rows, features) in shapes.items()}
            Rewriter(model).narrow(block, columns, first, biases)


def factor_half(model: ir.Model) -> None:
    """Put random factors of the ranks `RANKS` into ``model``, which changes in place."""
    random = np.random.default_rng(0)
    rewriter = Rewriter(model)
    for site in find_sites(model).sites:
        if site.role in RANKS:
            rank = RANKS[site.role] * min(site.in_features, site.out_features) // 768
            sides = (random.standard_normal(shape) for shape in ((site.in_features, rank), (rank, site.out_features)))
            left, right = (side / np.sqrt(len(side)) for side in sides)
            rewriter.factor(site, left, right)


SQUEEZES: Mapping[str, Callable[[ir.Model], None]] = {
    "sliced": partial(slice_to, HALF),
    "factored": factor_half,
    "sliced to a third": partial(slice_to, THIRD),
}
"""Name in the table → what makes a dense model smaller, in place."""


def markdown() -> Iterator[str]:
    """Yield the lines of the tables: one for each row, for only what ran in turns can be compared."""
    for row in rows_of("bert-base-shapes", "precision").values():
        yield from _table(row.values)
        yield ""


def _table(measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield speed-ups over the baseline, with their 95 % intervals."""
    shapes = [f"{shape['batch_size']} × {shape['sequence_length']}" for shape in measured["shapes"]]
    yield f"| | {' | '.join(shapes)} | geometric mean | file |"
    yield f"|---|{'---|' * (len(shapes) + 2)}"
    baseline = measured["models"][0]["bytes"]
    for number, model in enumerate(measured["models"]):
        cells = [_cell(shape["models"][number]) for shape in measured["shapes"]] + [_cell(model["mean"])]
        yield f"| {model['name']} | {' | '.join(cells)} | {100 * model['bytes'] / baseline:.0f} % |"


def _cell(speedup: dict[str, Any]) -> str:
    low, high = speedup["speedup_interval"]
    return f"{speedup['speedup']:.2f} ({low:.2f} … {high:.2f})"


if __name__ == "__main__":
    main()
