"""How much memory analyze and optimize take on models of growing size with the same largest matrix.

    python -m tools.bench_memory [--gigabytes 0.5 1 2 4 8] [--random-layers 1 | --random-layers all] [--row LABEL …]

Generates each model (Llama's layers, see `write_model`) in a temporary folder, runs ``squeeze-onnx analyze`` and ``squeeze-onnx
optimize --method svd --keep 0.5`` on it in processes of their own, has ONNX Runtime open and run the result, and keeps a row of
models/memory/results/memory.json. The peak of resident memory is the kernel's own (VmHWM), mapped files included; that of
anonymous memory, which no other process can have meanwhile, is sampled. Linux only.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from squeeze_onnx.graph.io.external_data import PAGE_SIZE, next_page
from tools.measuring import Clock, Recorder, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance
from tools.tolerances import BYTES

GIGABYTES = (0.5, 1.0, 2.0, 4.0, 8.0)
SAMPLES_PER_SECOND = 50
COMMANDS = {
    "analyze": ("analyze",),
    "optimize": ("optimize", "--method", "svd", "--keep", "0.5"),
}


PEAK = Tolerance(relative=0.1, why="10 %: what allocators and threads leave unused")
TOLERANCE = {f"{name}.{kind}": PEAK for name in COMMANDS for kind in ("resident", "anonymous")} | {
    "result.bytes": BYTES
}


@dataclass(frozen=True)
class Widths:
    """The sizes of Llama's matrices that all layers share."""

    hidden: int = 1024
    ffn: int = 2816
    vocabulary: int = 32000

    @property
    def layer_weights(self) -> dict[str, tuple[int, int]]:
        """(in, out) of the seven weights of a layer."""
        return {
            **dict.fromkeys(("query", "key", "value", "output"), (self.hidden, self.hidden)),
            **dict.fromkeys(("gate", "up"), (self.hidden, self.ffn)),
            "down": (self.ffn, self.hidden),
        }

    @property
    def largest_matrix_bytes(self) -> int:
        """Bytes of the embedding table, and of the head."""
        return 4 * self.vocabulary * self.hidden

    def layers_of(self, gigabytes: float) -> int:
        """Return how many layers make a model of about so many GB (10⁹ bytes)."""
        layer = 4 * sum(rows * columns for rows, columns in self.layer_weights.values())
        return max(1, round((gigabytes * 1e9 - 2 * self.largest_matrix_bytes) / layer))


@dataclass(frozen=True)
class Usage:
    """What one process took: wall time in seconds, memory at its peak in bytes."""

    seconds: float
    resident: int
    anonymous: int


class _DataFile:
    """Weights beside an .onnx file, at multiples of the page size; what is not random is a hole and takes no space."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end = 0
        path.touch()

    def add(self, name: str, shape: tuple[int, ...], *, random: bool) -> TensorProto:
        """Append a float32 tensor of ``shape``: standard normal over √in, drawn anew for each name, or zeros."""
        start = next_page(self._end)
        length = 4 * int(np.prod(shape))
        self._end = start + length
        with self._path.open("r+b") as file:
            file.truncate(self._end)
            if random:
                file.seek(start)
                generator = np.random.default_rng([start // PAGE_SIZE, length])
                entries = generator.standard_normal(shape, dtype=np.float32)
                (entries / np.float32(np.sqrt(shape[0]))).tofile(file)
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._path.name), ("offset", start), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


def write_model(path: Path, widths: Widths, layers: int, random_layers: int) -> None:
    """Write a model of Llama's layers (RMS norm, attention with one head, gated feed-forward) with its weights beside it.

    Token ids (batch, length) to logits. Embedding, head and the first ``random_layers`` are random, the others zero.
    """
    data = _DataFile(path.with_name(f"{path.name}.data"))
    weights = [data.add("embedding", (widths.vocabulary, widths.hidden), random=True)]
    constants = {"two": np.float32(2), "epsilon": np.float32(1e-5), "scale": np.float32(widths.hidden**-0.5)}
    small = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    small.append(onnx.numpy_helper.from_array(np.array([-1], np.int64), "last"))
    nodes: list[onnx.NodeProto] = []

    def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def normalized(stream: str, name: str) -> str:
        squares = node("Pow", [stream, "two"], f"{name}/squares")
        mean = node("ReduceMean", [squares, "last"], f"{name}/mean", keepdims=1)
        root = node("Sqrt", [node("Add", [mean, "epsilon"], f"{name}/shifted")], f"{name}/root")
        return node("Div", [stream, root], name)

    stream = node("Gather", ["embedding", "ids"], "embedded")
    for layer in range(layers):
        names = {role: f"layer.{layer}/{role}" for role in widths.layer_weights}
        random = layer < random_layers
        weights += [
            data.add(f"{names[role]}/weight", shape, random=random) for role, shape in widths.layer_weights.items()
        ]

        def product(rows: str, role: str, names: dict[str, str] = names) -> str:
            return node("MatMul", [rows, f"{names[role]}/weight"], names[role])

        rows = normalized(stream, f"layer.{layer}/attention_norm")
        query, key, value = (product(rows, role) for role in ("query", "key", "value"))
        turned = node("Transpose", [key], f"{names['key']}/turned", perm=[0, 2, 1])
        scores = node("Mul", [node("MatMul", [query, turned], f"{names['query']}/scores"), "scale"], f"{query}/scaled")
        mixed = node("MatMul", [node("Softmax", [scores], f"{query}/attention"), value], f"{names['value']}/mixed")
        stream = node("Add", [stream, product(mixed, "output")], f"layer.{layer}/attended")
        rows = normalized(stream, f"layer.{layer}/ffn_norm")
        gate = product(rows, "gate")
        opened = node("Mul", [gate, node("Sigmoid", [gate], f"{gate}/sigmoid")], f"{gate}/opened")
        wide = node("Mul", [opened, product(rows, "up")], f"{gate}/wide")
        stream = node("Add", [stream, product(wide, "down")], f"layer.{layer}")
    weights.append(data.add("head", (widths.hidden, widths.vocabulary), random=True))
    node("MatMul", [normalized(stream, "norm"), "head"], "logits")
    graph = helper.make_graph(
        nodes,
        "llama",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", widths.vocabulary])],
        [*weights, *small],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())


def watched(arguments: Sequence[str]) -> Usage:
    """Run a command of squeeze-onnx to its end; CalledProcessError if it fails."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "squeeze_onnx", *arguments, "--quiet"]
    resident = anonymous = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            memory = memory_of(process.pid)
            resident = max(resident, memory.get("VmHWM", 0))
            anonymous = max(anonymous, memory.get("RssAnon", 0))
            time.sleep(1 / SAMPLES_PER_SECOND)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Usage(round(time.perf_counter() - start, 1), resident, anonymous)


def memory_of(process: int) -> dict[str, int]:
    """Return what the kernel says of the memory of a process, in bytes; nothing once it has ended."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = (line.split(":") for line in lines if line.endswith(" kB"))
    return {name: 1024 * int(amount.removesuffix(" kB")) for name, amount in fields}


def examine(folder: Path) -> dict[str, Any]:
    """Open the model in ``folder`` and run it on a few tokens; say how large it is, and whether its data is aligned."""
    path = folder / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # weights stay in the mapped file
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"ids": np.arange(8, dtype=np.int64)[None]})[0]
    entries = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
    ]
    return {
        "bytes": sum(file.stat().st_size for file in folder.glob("model.onnx*")),
        "external": sum("location" in entry for entry in entries),
        "aligned": all(int(entry.get("offset", 0)) % PAGE_SIZE == 0 for entry in entries),
        "finite": bool(np.isfinite(logits).all()),
    }


def measure(widths: Widths, layers: int, random_layers: int | None, scratch: Path | None) -> dict[str, Any]:
    """Return one row: a model of so many ``layers``, all of them random if ``random_layers`` is None."""
    random = layers if random_layers is None else min(random_layers, layers)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        model, out = Path(folder) / "model" / "model.onnx", Path(folder) / "out"
        model.parent.mkdir()
        write_model(model, widths, layers, random)
        files = [file.stat() for file in model.parent.iterdir()]
        used = {
            name: asdict(watched([*command, str(model), *(["-o", str(out)] if name == "optimize" else [])]))
            for name, command in COMMANDS.items()
        }
        return {
            "layers": layers,
            "random_layers": random,
            "bytes": sum(file.st_size for file in files),
            "bytes_on_disk": sum(512 * file.st_blocks for file in files),
            "largest_matrix_bytes": widths.largest_matrix_bytes,
            **used,
            "result": examine(out),
        }


def _count_or_all(context: click.Context, option: click.Parameter, text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit():
        raise click.BadParameter(f"{text!r} is neither a number nor 'all'")
    return int(text)


@click.command()
@row_options
@click.option("--gigabytes", type=float, multiple=True, default=GIGABYTES, show_default=True, help="Sizes, repeated.")
@click.option("--random-layers", default="1", callback=_count_or_all, metavar="N|all", help="The others are zero.")
@click.option("--scratch", type=click.Path(path_type=Path, exists=True), help="Where models lie meanwhile.")
def main(gigabytes: Sequence[float], random_layers: int | None, scratch: Path | None, recorder: Recorder) -> None:
    """Measure models of these sizes, one after the other, and keep rows in models/memory/results/memory.json."""
    widths, random = Widths(), "all" if random_layers is None else str(random_layers)
    for size in gigabytes:
        label = label_of(size, random)
        if recorder.wants(label):
            clock, command = Clock(), ("tools.bench_memory", "--gigabytes", f"{size:g}", "--random-layers", random)
            values = measure(widths, widths.layers_of(size), random_layers, scratch)
            recorder.keep("memory/memory", label, command, values, TOLERANCE, seconds=clock.lap())


def label_of(gigabytes: float, random_layers: str) -> str:
    """Return the label of the row."""
    return f"{gigabytes:g} GB, random layers: {random_layers}"


def markdown() -> Iterator[str]:
    """Yield the lines of the table."""
    yield (
        "| model, GB | layers (random) | largest matrix, MB | analyze, MB | of it anonymous | optimize, MB | of it anonymous "
        "| result, GB |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for row in sorted((row.values for row in rows_of("memory", "memory").values()), key=lambda row: row["bytes"]):
        memory = [f"{row[name][kind] / 1e6:.0f}" for name in COMMANDS for kind in ("resident", "anonymous")]
        cells = (
            f"{row['bytes'] / 1e9:.2f}",
            f"{row['layers']} ({row['random_layers']})",
            f"{row['largest_matrix_bytes'] / 1e6:.0f}",
            *memory,
            f"{row['result']['bytes'] / 1e9:.2f}",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
