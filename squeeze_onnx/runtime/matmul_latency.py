"""How long one MatMul takes on this machine, measured for a grid of weights and kept for the next model.

Kernels do not count operations: a weight half as wide is seldom twice as fast. So each width of a grid is timed once a machine,
in a graph of many MatMuls whose weights together are larger than the caches, as those of a whole model are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.runtime.binding import bind_run
from squeeze_onnx.runtime.latency import measure_latency
from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.sessions import Feeds, SessionSettings, open_session
from squeeze_onnx.support.errors import DataError
from squeeze_onnx.support.processor import processor_name
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.staging import staged_file

STEP = 16
"""Ranks in between are not faster than the next multiple, so only these are worth having."""

_WEIGHT_BYTES = 32e6
"""The weights of one timed graph, at least: they do not stay in a core's caches."""

_OPERATIONS = 1.5e9
"""The floating-point operations of one timed run, about: enough to time, not enough to wait for."""

_MOST_MATMULS = 64

_OPSET = 17
_IR_VERSION = 9

Shape = tuple[int, int]

Lower = Callable[[onnx.ModelProto, Feeds], onnx.ModelProto]
"""Writes a graph in the precision of a `Setting`; the feeds are what it is run on."""


@dataclass(frozen=True)
class Setting:
    """What is run on: batch × length tokens, a provider of onnxruntime, its intra-op threads (None: its choice), a precision."""

    batch_size: int = 1
    sequence_length: int = 128
    provider: str = "cpu"
    threads: int | None = None
    precision: str = "fp32"

    @property
    def tokens(self) -> int:
        """Rows that meet a weight."""
        return self.batch_size * self.sequence_length


@dataclass(frozen=True)
class MatMulLatency:
    """Nanoseconds of a MatMul by the shape (rows, columns) of its weight; between measured sizes it grows evenly."""

    measured: Mapping[Shape, float]

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        """Nanoseconds of weights (rows, size), for each of ``sizes``."""
        return self._along(0, rows, sizes)

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        """Nanoseconds of weights (size, columns), for each of ``sizes``."""
        return self._along(1, columns, sizes)

    def _along(self, axis: int, fixed: int, sizes: np.ndarray) -> np.ndarray:
        widths, times = self._curves[axis, fixed]
        return np.asarray(np.interp(sizes, widths, times))

    @cached_property
    def _curves(self) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
        """By the side that is fixed and its length: the other lengths, ascending, and times that never fall."""
        points: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for shape, nanoseconds in self.measured.items():
            for axis in (0, 1):
                points.setdefault((axis, shape[axis]), []).append((shape[1 - axis], nanoseconds))
        curves = {}
        for key, pairs in points.items():
            widths, times = np.array(sorted(pairs)).T
            curves[key] = (widths, np.maximum.accumulate(times))
        return curves


def measure_matmuls(
    shapes: Sequence[Shape], setting: Setting, lower: Lower, cache: Path, *, seed: int = 0, track: Track = silent
) -> MatMulLatency:
    """Time MatMuls for all that could stand in for weights of ``shapes``; what the folder ``cache`` holds is not timed again.

    Only the ``shapes`` themselves are, and what was kept is scaled by what they show: the machine may be busier than it was.
    Raises what `open_session` raises, and OutputError if the cache cannot be written.
    """
    path = cache / f"matmuls-{_fingerprint(setting)}.json"
    kept = _read(path)
    whole = list(dict.fromkeys(shapes))
    grid = list(dict.fromkeys(each for shape in whole for each in _grid(*shape)))
    missing = [shape for shape in grid if shape not in kept or shape in whole]
    now = {shape: _measure(shape, setting, lower, seed) for shape in track(missing, "MatMuls")}
    slower = float(np.median([now[shape] / kept[shape] for shape in whole if shape in kept] or [1.0]))
    known = {shape: nanoseconds * slower for shape, nanoseconds in kept.items()} | now
    _write(path, setting, known)
    return MatMulLatency({shape: known[shape] for shape in grid})


def _grid(rows: int, columns: int) -> list[Shape]:
    """Return the weight itself, and weights of the same height or the same width that are smaller."""
    return [
        (rows, columns),
        *((rows, width) for width in _widths(columns)),
        *((height, columns) for height in _widths(rows)),
    ]


def _widths(largest: int) -> list[int]:
    """Return multiples of `STEP` up to ``largest``, and it: dense where ranks are, farther apart above."""
    widths, width = [], STEP
    while width < largest:
        widths.append(width)
        width += STEP * max(1, width // 128)
    return [*widths, largest]


def _measure(shape: Shape, setting: Setting, lower: Lower, seed: int) -> float:
    """Return the median time of one MatMul, in nanoseconds."""
    rows, columns = shape
    operations = 2 * setting.tokens * rows * columns
    count = int(np.clip(min(_WEIGHT_BYTES / (4 * rows * columns), _OPERATIONS / operations), 2, _MOST_MATMULS))
    generator = np.random.default_rng(seed)
    many = _many_matmuls(shape, count, generator)
    feeds = {"x": generator.standard_normal((setting.batch_size, setting.sequence_length, rows), dtype=np.float32)}
    session = open_session(
        lower(many, feeds).SerializeToString(), setting.provider, SessionSettings(threads=setting.threads)
    )
    [latency] = measure_latency([bind_run(session, feeds)], rounds=3, repeats=3, warm_up=1)
    return latency.p50_ms * 1e6 / count


def _many_matmuls(shape: Shape, count: int, generator: np.random.Generator) -> onnx.ModelProto:
    """Return a graph in which ``count`` different weights of ``shape`` meet the same rows."""
    weights = [
        numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32), f"weight/{index}")
        for index in range(count)
    ]
    nodes = [
        helper.make_node("MatMul", ["x", weight.name], [f"y/{index}"], name=f"matmul/{index}")
        for index, weight in enumerate(weights)
    ]
    outputs = [
        helper.make_tensor_value_info(f"y/{index}", TensorProto.FLOAT, [None, None, shape[1]]) for index in range(count)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, shape[0]])
    graph = helper.make_graph(nodes, "matmuls", [x], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)


def _fingerprint(setting: Setting) -> str:
    """Return what stands for the machine, the version of onnxruntime and the ``setting`` in the name of a file."""
    version = import_onnxruntime().__version__
    machine = {"setting": asdict(setting), "processor": processor_name(), "onnxruntime": version}
    return sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[Shape, float]:
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows_columns_ns"]
        return {(int(height), int(width)): float(nanoseconds) for height, width, nanoseconds in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not what a measurement of MatMuls left there ({error}); delete it") from error


def _write(path: Path, setting: Setting, known: Mapping[Shape, float]) -> None:
    rows = [[*shape, nanoseconds] for shape, nanoseconds in sorted(known.items())]
    with staged_file(path) as staged:
        staged.write_text(json.dumps({"setting": asdict(setting), "rows_columns_ns": rows}) + "\n", encoding="utf-8")
