"""The demo for a terminal: each step under the command that repeats it."""

import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from squeeze_onnx.cli.console import plain_table
from squeeze_onnx.cli.tables import analysis_table, optimization_table, size_table
from squeeze_onnx.report.noise_by_role import span
from squeeze_onnx.support.readable import readable_bytes, written_bytes
from squeeze_onnx.workflows.demo import RIVAL, DemoInputs, DemoReports

Report = Mapping[str, Any]


def print_demo(inputs: DemoInputs, out: Path, reports: DemoReports, console: Console, *, verbose: bool = False) -> None:
    """Print what the three steps found, what it comes to, and what to do next."""
    _command(console, "analyze", inputs.model)
    console.print(analysis_table(reports.analysis) if verbose else spectrum_table(reports.analysis))
    config = reports.optimization["config"]
    keep, size = config["keep"], config["max_size"]
    budget = ["--keep", keep] if size is None else ["--max-size", written_bytes(size)]
    budget += ["--precision", config["precision"], "--distill", config["distill"]]
    _command(console, "optimize", inputs.model, "-o", out, "--calibration", inputs.texts, *budget)
    console.print(optimization_table(reports.optimization) if verbose else size_table(reports.optimization))
    _command(console, "validate", inputs.model, out, "--data", inputs.held_out)
    _command(console, "bench", inputs.model, out, "--against", RIVAL)
    console.print(comparison_table(reports))
    console.print(f"\n{summary(reports)}")
    console.print(f"All of it, with pictures: {out / 'report.html'}")
    console.print(
        "\nNext, a milder cut:\n"
        "  squeeze-onnx demo --max-size 10MB\n"
        "or a model of yours, as optimum exports it:\n"
        "  squeeze-onnx optimize model/ -o small/ --keep 0.5 --calibration sentences.txt\n"
        "  squeeze-onnx validate model/ small/ --task sst2 --data glue/ --max-drop 1"
    )


def comparison_table(reports: DemoReports) -> Table:
    """The dense model, onnxruntime's int8 of it and the squeezed one: bytes, time and likeness."""
    dense, ours, rival = range(3)  # as they were timed
    shapes = reports.times["shapes"]
    labels = [f"{shape['batch_size']} × {shape['sequence_length']}" for shape in shapes]
    columns = ["file", *(f"ms, {label}" for label in labels), "speed-up", "cosine"]
    table = plain_table("On sentences that nothing else read", ["model"], columns)
    rows = (
        ("dense", dense, 1.0),
        ("onnxruntime's int8", rival, reports.rival["cosine_similarity"]),
        ("squeezed", ours, reports.validation["cosine_similarity"]),
    )
    for name, number, likeness in rows:
        model = reports.times["models"][number]
        times = [f"{shape['models'][number]['p50_ms']:.1f}" for shape in shapes]
        table.add_row(
            name, readable_bytes(model["bytes"]), *times, f"{model['mean']['speedup']:.2f}×", f"{likeness:.3f}"
        )
    return table


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
        table.add_row(role, str(len(spectra)), shape, *(span([s[key] for s in spectra], form) for key, form in columns))
    return table


def summary(reports: DemoReports) -> str:
    """Say in words what was won and what was lost."""
    dense, ours, rival = reports.times["models"]
    sentences = sum(reports.validation["data"]["rows"].values())
    return (
        f"{readable_bytes(dense['bytes'])} → {readable_bytes(ours['bytes'])}, {ours['mean']['speedup']:.2f} times as fast; "
        f"onnxruntime's int8 alone comes to {readable_bytes(rival['bytes'])} and {rival['mean']['speedup']:.2f}.\n"
        f"On {sentences} sentences the embeddings have a cosine of {reports.validation['cosine_similarity']:.3f} to the "
        f"original's. No label was read."
    )


def _command(console: Console, *words: object) -> None:
    command = shlex.join(["squeeze-onnx", *map(str, words)])
    console.print(f"\n$ {command}", style="bold", markup=False, soft_wrap=True)
