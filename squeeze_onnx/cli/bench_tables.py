"""The JSON of `bench` for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from squeeze_onnx.cli.console import plain_table
from squeeze_onnx.support.readable import readable_bytes

Report = Mapping[str, Any]


def print_benchmark(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print what the models are, how long each takes on each shape, and with what settings that was found."""
    console.print(models_table(report), end="\n\n")
    console.print(latency_table(report), end="\n\n")
    for line in remarks(report):
        console.print(line)
    console.print(settings_line(report), style="dim")
    if verbose:
        for provider, options in report["provider_options"].items():
            console.print(f"{provider}: {options or 'no options'}", style="dim")


def models_table(report: Report) -> Table:
    """One row per model: size, memory and the mean over all shapes."""
    table = plain_table("Models", ["model"], ["file", "peak memory", "mean speed-up", "95 % interval", "verdict"])
    for number, model in enumerate(report["models"]):
        peak = model["peak_memory_bytes"]
        table.add_row(
            model["name"],
            readable_bytes(model["bytes"]),
            "–" if peak is None else readable_bytes(peak),
            *(_speedup(model["mean"]) if number else ("", "", "baseline")),
        )
    return table


def latency_table(report: Report) -> Table:
    """One row per shape and model: p50 and p95 of single runs, and the speed-up against the first model."""
    table = plain_table(
        "Latency in ms", ["batch × length", "model"], ["p50", "p95", "speed-up", "95 % interval", "verdict"]
    )
    for shape in report["shapes"]:
        length = shape["sequence_length"]
        label = f"{shape['batch_size']} × {'as given' if length is None else length}"
        for number, (model, entry) in enumerate(zip(report["models"], shape["models"], strict=True)):
            table.add_row(
                "" if number else label,
                model["name"],
                f"{entry['p50_ms']:.2f}",
                f"{entry['p95_ms']:.2f}",
                *(_speedup(entry) if number else ("", "", "baseline")),
            )
    return table


def remarks(report: Report) -> Iterator[str]:
    """Yield what is to be known of single models, and which ones an opponent's tool did not take."""
    for model in report["models"]:
        runtime = model["runtime"]
        known = [f"{runtime['name']} {runtime['version']}"] if runtime["name"] != "onnxruntime" else []
        known += [f"what is not int8 in {runtime['float_type']}"] if "float_type" in runtime else []
        known += [model["remark"]] if model["remark"] else []
        if known:
            yield f"{model['name']}: {', '.join(known)}"
    for left_out in report["left_out"]:
        yield f"{left_out['name']} is not timed in {left_out['against']}: {left_out['reason']}"


def settings_line(report: Report) -> str:
    """Say in one line what the numbers depend on."""
    settings = report["settings"]
    machine = report["environment"]
    threads = settings["threads"] or f"the runtime's choice of {machine['processors']} processors"
    processor = f"{machine['processor']} ({' '.join(machine['instruction_sets'])}), " if machine["processor"] else ""
    on_cuda = f", TF32 {_on(settings['tf32'])}, CUDA graphs {_on(settings['cuda_graph'])}"
    return (
        f"{processor}{settings['provider']}, threads: {threads}{on_cuda if settings['provider'] == 'cuda' else ''}, optimization "
        f"level {settings['optimization_level']}, IO binding, {settings['rounds']} rounds of {settings['repeats']} runs "
        f"in turns after {settings['warm_up']} of warm-up, a process for each model"
    )


def _speedup(entry: Report) -> tuple[str, str, str]:
    low, high = entry["speedup_interval"]
    return f"{entry['speedup']:.2f}×", f"{low:.2f} … {high:.2f}", entry["verdict"]


def _on(flag: bool) -> str:
    return "on" if flag else "off"
