"""The demo for a terminal: each step under the command that repeats it."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from squeeze_onnx.cli.tables import analysis_table, optimization_table, size_table
from squeeze_onnx.cli.validation_tables import fidelity_table, latency_table
from squeeze_onnx.support.readable import readable_bytes
from squeeze_onnx.workflows.demo import DemoInputs, DemoReports

Report = Mapping[str, Any]


def print_demo(inputs: DemoInputs, out: Path, reports: DemoReports, console: Console, *, verbose: bool = False) -> None:
    """Print what the three steps found, what it comes to, and what to do next."""
    config = reports.optimization["config"]
    _command(console, "analyze", inputs.model)
    console.print(analysis_table(reports.analysis) if verbose else spectrum_table(reports.analysis))
    left_alone = [word for role in config["exclude"] for word in ("--exclude", role)]
    options = ["--method", config["method"], "--keep", config["keep"], *left_alone]
    _command(console, "optimize", inputs.model, "-o", out, *options)
    console.print(optimization_table(reports.optimization) if verbose else size_table(reports.optimization))
    _command(console, "validate", inputs.model, out, "--data", inputs.sentences)
    console.print(fidelity_table(reports.validation))
    console.print(latency_table(reports.validation))
    console.print(f"\n{summary(reports)}")
    console.print(
        "\nNext, a milder cut:\n"
        "  squeeze-onnx demo --keep 0.9\n"
        "or a model of yours, as optimum exports it:\n"
        "  squeeze-onnx optimize model/ -o small/ --keep 0.75 --calibration sentences.txt\n"
        "  squeeze-onnx validate model/ small/ --task sst2 --data glue/ --max-drop 1"
    )


def spectrum_table(report: Report) -> Table:
    """One row per role and shape: from the lowest to the highest of its sites."""
    table = Table(
        title="Singular values of the standardized weights; signal is what stands above the Tracy–Widom edge of noise",
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    table.add_column("role")
    for name in ("weights", "shape", "signal", "effective rank", "KS distance to Marchenko–Pastur"):
        table.add_column(name, justify="right", no_wrap=True)
    groups: dict[tuple[str, str], list[Report]] = defaultdict(list)
    for site in report["sites"]:
        groups[site["role"], f"{site['shape'][0]} × {site['shape'][1]}"].append(site["spectrum"])
    for (role, shape), spectra in groups.items():
        columns = (("signal_rank", "d"), ("effective_rank", ".0f"), ("ks_distance", ".2f"))
        table.add_row(
            role, str(len(spectra)), shape, *(_span([s[key] for s in spectra], form) for key, form in columns)
        )
    return table


def summary(reports: DemoReports) -> str:
    """Say in words what was won and what was lost."""
    size, validation = reports.optimization["size"], reports.validation
    kept = size["kept_eligible_parameters"] / size["eligible_parameters"]
    sentences = sum(validation["data"]["rows"].values())
    speedup = next(iter(validation["latency"].values()))["speedup"]
    return (
        f"{readable_bytes(size['baseline_bytes'])} → {readable_bytes(size['optimized_bytes'])}: {100 * kept:.0f} % of the "
        f"{size['eligible_parameters'] / 1e6:.1f} M parameters of the FFN stay; the embedding table and the attention "
        f"keep all of theirs.\n"
        f"On {sentences} sentences the embeddings have a cosine of {validation['cosine_similarity']:.3f} to the original's; "
        f"one sentence takes {1 / speedup:.2f} of the time.\n"
        "Only the weights were looked at, no data: the interpretable baseline, not the best that can be had."
    )


def _command(console: Console, *words: object) -> None:
    command = shlex.join(["squeeze-onnx", *map(str, words)])
    console.print(f"\n$ {command}", style="bold", markup=False, soft_wrap=True)


def _span(values: Sequence[float], form: str) -> str:
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"
