"""Draw the pictures of docs/theory.md from a real model.

    python -m tools.draw_theory MODEL --text FILE

MODEL is models/minilm-l6 as tools/reference_models.py builds it, FILE a text with a sentence a line. Writes SVG to docs/images,
legible on white and on black. Needs ``pip install -e '.[docs]'``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from squeeze_onnx import CalibrationConfig, load_calibration, load_model
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import collect_moments
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.rmt.marchenko_pastur import MarchenkoPastur
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.tracy_widom import noise_edge
from squeeze_onnx.spectral.weightings import Identity, Standardization, Whitening
from tools.row_files import ROOT

LAYER = 3
GREY, BLUE, ORANGE, GREEN = "#808080", "#3b82c4", "#e07b39", "#2e9e6b"
STYLE = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "savefig.transparent": True,
    "svg.hashsalt": "squeeze-onnx",  # the same bytes every time
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
}


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option("--text", required=True, help="A file with a sentence a line, or glue:TASK with --data.")
@click.option("--data", help="GLUE splits for glue:TASK.")
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "docs" / "images", show_default=True)
def main(model: Path, text: str, data: str | None, out: Path) -> None:
    """Write all pictures."""
    loaded = load_model(model)
    sites = {site.role: site for site in find_sites(loaded.ir).sites if site.layer == LAYER}
    chosen = [sites[Role.FFN_IN], sites[Role.QUERY]]
    moments = collect_moments(
        loaded.ir, chosen, load_calibration(loaded, CalibrationConfig(text, data, rows=256)), provider="cpu"
    )
    with picture(out / "noise.svg") as axes:
        draw_noise(axes, chosen)
    with picture(out / "spectrum.svg") as axes:
        draw_spectra(axes, chosen)
    with picture(out / "energy.svg") as axes:
        draw_energy(axes, chosen, lambda site: Whitening(moments[site.name]))


@contextmanager
def picture(path: Path) -> Iterator[list[Axes]]:
    """Give two axes side by side, and save them to ``path``."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
        yield list(axes)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def draw_noise(axes: list[Axes], sites: list[MatMulSite]) -> None:
    """The entries of each weight in a random order: no structure is left, and the law fits."""
    random = np.random.default_rng(0)
    for ax, site in zip(axes, sites, strict=True):
        matrix = Standardization().apply(read_weight(site)).matrix
        histogram(ax, spectrum_of(random.permuted(matrix.ravel()).reshape(matrix.shape)))
        title(ax, site, "its entries shuffled")


def draw_spectra(axes: list[Axes], sites: list[MatMulSite]) -> None:
    """The weights as they are, with the edge under each estimate of σ."""
    for ax, site in zip(axes, sites, strict=True):
        spectrum = spectrum_of(Standardization().apply(read_weight(site)).matrix)
        histogram(ax, spectrum)
        for (name, estimator), colour in zip(NOISE_ESTIMATORS.items(), (ORANGE, GREEN, GREY), strict=True):
            sigma = estimator().estimate(spectrum)
            edge = noise_edge(spectrum.shape, sigma, 0.95)
            kept = spectrum.rank_above(edge)
            ax.axvline(
                edge,
                color=colour,
                linestyle="--",
                label=f"edge, σ by {name}: {kept} of {len(spectrum.singular_values)}",
            )
        ax.set_xlim(0, 110)
        ax.legend(fontsize=7)
        title(ax, site, "as trained")


def draw_energy(axes: list[Axes], sites: list[MatMulSite], whitening: Callable[[MatMulSite], Whitening]) -> None:
    """What truncation loses, of the entries and of the outputs."""
    for ax, site in zip(axes, sites, strict=True):
        weight = read_weight(site)
        views = (("of the weight", Identity(), BLUE), ("of its output on text", whitening(site), ORANGE))
        for label, weighting, colour in views:
            lost = 1 - spectrum_of(weighting.apply(weight).matrix).cumulative_energy
            ax.plot(np.arange(1, len(lost) + 1), lost, color=colour, label=label)
        rows, columns = weight.shape
        ax.axvline(rows * columns / (rows + columns) / 2, color=GREY, linestyle="--", label="half of the parameters")
        ax.set_xlabel("rank")
        ax.set_ylabel("energy lost")
        ax.legend(fontsize=7)
        title(ax, site, "truncated")


def spectrum_of(matrix: np.ndarray) -> Spectrum:
    values = np.linalg.svd(matrix, compute_uv=False)
    return Spectrum(values, matrix.shape)


def histogram(ax: Axes, spectrum: Spectrum) -> None:
    """The singular values, and where those of noise with the same entries' variance would lie."""
    values = spectrum.singular_values
    ax.hist(values, bins=80, density=True, color=BLUE, alpha=0.7)
    law = MarchenkoPastur(spectrum.aspect_ratio)
    low, high = law.singular_value_edges(spectrum.larger_dimension)
    grid = np.linspace(low, high, 300)[1:-1]
    # s = √(nλ), so the density of s is f(λ)·dλ/ds with dλ/ds = 2s/n.
    density = law.density(grid**2 / spectrum.larger_dimension) * 2 * grid / spectrum.larger_dimension
    ax.plot(grid, density, color=ORANGE, label="Marchenko–Pastur")
    ax.set_xlabel("singular value")
    ax.set_yticks([])


def title(ax: Axes, site: MatMulSite, what: str) -> None:
    rows, columns = site.in_features, site.out_features
    ax.set_title(f"layer {site.layer}, {site.role}, {rows} × {columns}, {what}", fontsize=9)


if __name__ == "__main__":
    main()
