"""What many machines would take for models of 7, 70 and 400 billion parameters, from the measured cost of single sites.

    python -m tools.project_cost measure [--row 1024×4096 …]      (minutes; rows of models/many-machines/results/site_costs.json)

One thread measures and factors random weights of growing size, each in a process of its own, whose peak memory counts. The time
of a weight (in, out) is a n²m + b n³ with n = min(in, out) and m = max(in, out): a Gram matrix, its eigenvectors,
and products with them; noise matrices take c n². a, b and c are fitted to the weights of at least 1024 on a side.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import click
import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper
from scipy.optimize import nnls

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.spectra import SiteView, measure_view, noise_distances
from squeeze_onnx.compress.truncation import truncate
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.weightings import Identity, Standardization
from tools.measuring import Clock, Recorder, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance

PLACE = "many-machines/site_costs"
TOLERANCE = {"peak_bytes": Tolerance(relative=0.1, comparable_on="same", why="10 % of a peak")}
SHAPES = (
    (384, 384),
    (384, 1536),
    (768, 768),
    (768, 3072),
    (1024, 1024),
    (1024, 4096),
    (2048, 2048),
    (2048, 5504),
    (4096, 4096),
)
WORKERS = (1, 2, 8, 64)
KEEP = 0.5


@dataclass(frozen=True)
class Architecture:
    """The weights of a decoder as published: (in, out) of each weight of a layer, and how many layers."""

    name: str
    layers: int
    weights: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, name: str, layers: int, hidden: int, intermediate: int, key_value: int) -> "Architecture":
        """Seven weights a layer, as Llama has them."""
        attention = ((hidden, hidden), (hidden, key_value), (hidden, key_value), (hidden, hidden))
        return cls(name, layers, (*attention, (hidden, intermediate), (hidden, intermediate), (intermediate, hidden)))

    @property
    def sites(self) -> list[tuple[int, int]]:
        """Every weight in order."""
        return [shape for _ in range(self.layers) for shape in self.weights]


ARCHITECTURES = (
    Architecture.of("7 B", 32, 4096, 11008, 4096),
    Architecture.of("70 B", 80, 8192, 28672, 1024),
    Architecture.of("400 B", 126, 16384, 53248, 1024),
)


@dataclass(frozen=True)
class SiteCost:
    """What one weight took: CPU seconds of one thread, and bytes of memory beside those of the process without it.

    ``noise_seconds`` is for the noise matrices of its shape, which each worker draws once.
    """

    shape: tuple[int, int]
    noise_seconds: float
    analyze_seconds: float
    factor_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class CostModel:
    """What `SiteCost` says, for any shape; ``largest_miss`` is relative, of the weights of at least 1024 on a side."""

    noise: float
    work: tuple[float, float]
    bytes_per_entry: float
    largest_miss: float

    @classmethod
    def fitted(cls, costs: list[SiteCost]) -> "CostModel":
        """Fit to the relative errors of ``costs``, so that each weight counts alike."""
        large = [cost for cost in costs if min(cost.shape) >= 1024]
        work = np.array([cost.analyze_seconds + cost.factor_seconds for cost in large])
        terms = np.array([_terms(cost.shape) for cost in large]) / work[:, None]
        coefficients, _ = nnls(terms, np.ones(len(large)))
        noise = float(np.mean([cost.noise_seconds / min(cost.shape) ** 2 for cost in large]))
        entries = max(cost.peak_bytes / (cost.shape[0] * cost.shape[1]) for cost in large)
        miss = float(np.abs(terms @ coefficients - 1).max())
        return cls(noise, (float(coefficients[0]), float(coefficients[1])), entries, miss)

    def seconds(self, shape: tuple[int, int]) -> float:
        """What analysis and factorization of a weight take together."""
        return float(_terms(shape) @ np.array(self.work))

    def noise_seconds(self, shapes: Iterable[tuple[int, int]]) -> float:
        """What each worker spends on noise of all ``shapes`` that differ."""
        return sum(self.noise * small**2 for small, _ in {(min(shape), max(shape)) for shape in shapes})


def _terms(shape: tuple[int, int]) -> np.ndarray:
    small, large = min(shape), max(shape)
    return np.array([small**2 * large, small**3], np.float64)


def makespan(seconds: list[float], workers: int) -> float:
    """How long ``workers`` take if each takes the next weight as soon as it is free."""
    free = np.zeros(workers)
    for each in seconds:
        free[free.argmin()] += each
    return float(free.max())


def rows(model: CostModel) -> Iterator[str]:
    """The table."""
    yield (
        "| model | parameters of its sites | largest weight | memory of a worker | read | written | "
        + " | ".join(f"{count} worker{'s' if count > 1 else ''}" for count in WORKERS)
        + " |"
    )
    yield "|---" * (6 + len(WORKERS)) + "|"
    for architecture in ARCHITECTURES:
        sites = architecture.sites
        entries = sum(rows * columns for rows, columns in sites)
        largest = max(sites, key=lambda shape: shape[0] * shape[1])
        seconds = [model.seconds(shape) for shape in sites]
        memory = model.bytes_per_entry * largest[0] * largest[1]
        cells = [
            architecture.name,
            f"{entries / 1e9:.1f} B",
            f"{largest[0]}×{largest[1]}",
            f"{memory / 2**30:.0f} GiB",
            f"{2 * 2 * entries / 1e9:.0f} GB",  # 16-bit weights, for analysis and for factorization
            f"{8 * KEEP * entries / 1e9:.0f} GB",  # factors in float64
            *(_readable(makespan(seconds, count) + model.noise_seconds(sites)) for count in WORKERS),
        ]
        yield "| " + " | ".join(cells) + " |"


def measurements(costs: list[SiteCost], model: CostModel) -> Iterator[str]:
    """What was measured, beside what the fit says."""
    yield "| weight | noise of its shape | analysis | factorization | both, by the fit | memory |"
    yield "|---" * 6 + "|"
    for cost in costs:
        cells = [
            f"{cost.shape[0]}×{cost.shape[1]}",
            f"{cost.noise_seconds:.2f} s",
            f"{cost.analyze_seconds:.2f} s",
            f"{cost.factor_seconds:.2f} s",
            f"{model.seconds(cost.shape):.2f} s",
            f"{cost.peak_bytes / 2**20:.0f} MiB",
        ]
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield f"The fit is off by up to {100 * model.largest_miss:.0f} % on the weights of at least 1024 on a side."


def _readable(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


@click.group()
def main() -> None:
    """Measure what single sites cost, and project that."""


@main.command()
@row_options
def measure(recorder: Recorder) -> None:
    """Measure `SHAPES`, each in a process of its own with one thread."""
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for shape in SHAPES:
        label = f"{shape[0]}×{shape[1]}"
        if recorder.wants(label):
            clock, command = Clock(), [sys.executable, "-m", "tools.project_cost", "site", *map(str, shape)]
            done = subprocess.run(command, env=one_thread, capture_output=True, text=True, check=True)
            values, again = json.loads(done.stdout), ("tools.project_cost", "measure")
            recorder.keep(PLACE, label, again, values, TOLERANCE, seconds=clock.lap(), speed=True)


@main.command()
@click.argument("shape", type=int, nargs=2)
def site(shape: tuple[int, int]) -> None:
    """Print the `SiteCost` of a random weight."""
    config = AnalyzeConfig()
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    [found] = find_sites(ir.from_proto(single_matmul(weight))).sites
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    moments = [time.process_time()]  # of one thread that computes, on however busy a machine
    distances = noise_distances([found], config)[found.name]
    moments.append(time.process_time())
    measure_view(SiteView.of(found, Standardization()), distances, config)
    moments.append(time.process_time())
    truncate(read_weight(found), round(KEEP * weight.size / sum(shape)), Identity(), Exact())
    moments.append(time.process_time())
    peak = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident)
    noise_seconds, analyze_seconds, factor_seconds = np.diff(moments).tolist()
    click.echo(json.dumps(asdict(SiteCost(shape, noise_seconds, analyze_seconds, factor_seconds, peak))))


def measured() -> list[SiteCost]:
    """Return what was measured."""
    found = (row.values for row in rows_of("many-machines", "site_costs").values())
    return [SiteCost(**{**cost, "shape": tuple(cost["shape"])}) for cost in found]


def site_costs() -> Iterator[str]:
    """Yield the lines of the table of what was measured."""
    yield from measurements(measured(), CostModel.fitted(measured()))


def many_machines() -> Iterator[str]:
    """Yield the lines of the table of what is projected from it."""
    yield from rows(CostModel.fitted(measured()))


def single_matmul(weight: np.ndarray) -> onnx.ModelProto:
    """Return x @ weight as a model."""
    shapes = {"x": ["b", weight.shape[0]], "y": ["b", weight.shape[1]]}
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items())
    node = helper.make_node("MatMul", ["x", "W"], ["y"], name="site")
    graph = helper.make_graph([node], "site", [x], [y], [numpy_helper.from_array(weight, "W")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    main()
