"""The numbers of docs/theory.md: what random-matrix theory says of two weights of a real model, and what truncating them loses.

    python -m tools.bench_theory --glue DIR [--row "query, layer 3"]

Of all-MiniLM-L6-v2, the weights whose pictures `tools.draw_theory` draws, and 256 rows of train text of STS-B. Keeps rows of
models/minilm-l6/results/theory.json.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from squeeze_onnx import CalibrationConfig, load_calibration, load_model
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import collect_moments
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge
from squeeze_onnx.spectral.weightings import Identity, Standardization, Weighting, Whitening
from tools.measuring import Clock, Recorder, data_options, row_options
from tools.row_files import rows_of
from tools.rows import Tolerance

MODEL = "minilm-l6"
LAYER = 3
ROLES = (Role.FFN_IN, Role.QUERY)
PROBABILITY = 0.95
TEXT_ROWS = 256

SHARE = Tolerance(absolute=0.005, why="half a point of a share")
RANK = Tolerance(absolute=1.0, why="a singular value at the edge falls on either side")


@click.command()
@data_options
@row_options
def main(glue: Path, models: Path, recorder: Recorder) -> None:
    """Measure, and keep rows in models/minilm-l6/results/theory.json."""
    loaded = load_model(models / MODEL / "onnx")
    sites = {site.role: site for site in find_sites(loaded.ir).sites if site.layer == LAYER}
    text = load_calibration(loaded, CalibrationConfig("glue:stsb", glue, rows=TEXT_ROWS))
    for role in ROLES:
        label = label_of(role)
        if recorder.wants(label):
            clock, site = Clock(), sites[role]
            moments = collect_moments(loaded.ir, [site], text, provider="cpu")
            values = measure(site, Whitening(moments[site.name]))
            place = f"{MODEL}/theory"
            recorder.keep(place, label, ("tools.bench_theory",), values, tolerance(), seconds=clock.lap())


def label_of(role: Role) -> str:
    """Return the label of the row."""
    return f"{role.replace('_', ' ')}, layer {LAYER}"


def measure(site: MatMulSite, whitening: Weighting) -> dict[str, Any]:
    """Return edges under each estimate of σ, and the energy that truncation to half of the parameters loses."""
    weight = read_weight(site)
    spectrum = spectrum_of(Standardization(), weight)
    rows, columns = weight.shape
    rank = int(rows * columns / (rows + columns) / 2)
    edges = {}
    for name, estimator in NOISE_ESTIMATORS.items():
        above = spectrum.rank_above(noise_edge(spectrum.shape, estimator().estimate(spectrum), PROBABILITY))
        edges[name] = {"rank": above, "energy": spectrum.energy_kept(above)}
    return {
        "shape": [rows, columns],
        "ks_distance": float(spectrum.ks_distance(NOISE_ESTIMATORS["entries"]().estimate(spectrum))),
        "edges": edges,
        "rank_of_half": rank,
        "weight_lost": energy_lost(Identity(), weight, rank),
        "output_lost": energy_lost(whitening, weight, rank),
    }


def tolerance() -> dict[str, Tolerance]:
    """Return how far the values may drift."""
    of_edges = {
        f"edges.{name}.{key}": kind for name in NOISE_ESTIMATORS for key, kind in (("rank", RANK), ("energy", SHARE))
    }
    return {**of_edges, "ks_distance": SHARE, "weight_lost": SHARE, "output_lost": SHARE}


def spectrum_of(weighting: Weighting, weight: np.ndarray) -> Spectrum:
    """Return the spectrum of ``weight`` as ``weighting`` sees it."""
    matrix = weighting.apply(weight).matrix
    return Spectrum(np.linalg.svd(matrix, compute_uv=False), matrix.shape)


def energy_lost(weighting: Weighting, weight: np.ndarray, rank: int) -> float:
    """Return the share of the squared norm that is not in the leading ``rank`` components."""
    return 1 - spectrum_of(weighting, weight).energy_kept(rank)


NAMES = {
    "entries": "`entries`: all entries (SQUEEZE's σ = 1)",
    "median": "`median`: the median singular value",
    "bulk": "`bulk`: least KS distance of the bulk",
}


def markdown() -> Iterator[str]:
    """Yield the lines of the table of edges."""
    found = [row.values for row in rows_of(MODEL, "theory").values()]
    shapes = [f"{rows} × {columns}" for rows, columns in (values["shape"] for values in found)]
    titles = [f"{name} weight, {shape}: above the edge" for name, shape in zip(("FFN", "query"), shapes, strict=True)]
    yield f"| σ from | {titles[0]} | energy there | {titles[1]} | energy there |"
    yield "|---|---|---|---|---|"
    for name, told in NAMES.items():
        edges = [values["edges"][name] for values in found]
        cells = (f"{edge['rank']} | {100 * edge['energy']:.0f} %" for edge in edges)
        yield f"| {told} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
