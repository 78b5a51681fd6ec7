"""``squeeze-onnx bench``."""

from pathlib import Path
from typing import Any

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.models import MODEL, from_hub
from squeeze_onnx.cli.options import PATH
from squeeze_onnx.cli.sections import SectionedCommand

SECTIONS = {
    "What is timed": ("--batch-size", "--sequence-length", "--data", "--against", "--rounds", "--memory"),
    "How it runs": ("--provider", "--threads", "--tf32", "--cuda-graph", "--seed", "--offline"),
    "What is written": ("--json",),
}


@click.command(cls=SectionedCommand, sections=SECTIONS)
@click.argument("models", type=MODEL, nargs=-1, required=True, metavar="MODEL...")
@click.option("--provider", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda.")
@click.option("--batch-size", "batch_sizes", type=int, multiple=True, metavar="N", help="May be given several times.")
@click.option(
    "--sequence-length", "sequence_lengths", type=int, multiple=True, metavar="N", help="May be given several times."
)
@click.option("--data", type=PATH, metavar="FILE", help="An .npz of inputs to time on, instead of random tokens.")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME",
    callback=lambda context, option, values: tuple(kind for value in values for kind in value.split(",")),
    help="Also time what others make of it, once or several, with commas: int8 (dynamic) or fused, the first MODEL by "
    "onnxruntime's own tools; openvino, every MODEL in OpenVINO's int8.",
)
@click.option("--threads", type=int, metavar="N", help="Threads of the runtime.")
@click.option("--tf32/--no-tf32", default=True, show_default=True, help="On CUDA: multiply fp32 in TF32.")
@click.option("--cuda-graph", is_flag=True, help="On CUDA: record each shape as a CUDA graph and replay it.")
@click.option("--memory/--no-memory", default=True, show_default=True, help="Measure peak memory in processes apart.")
@click.option("--rounds", default=20, show_default=True, help="Turns of every model, three timed runs each.")
@click.option("--seed", default=0, show_default=True, help="Seed of the tokens and of the bootstrap.")
@click.option("--json", "json_path", type=PATH, metavar="FILE", help="Write everything as JSON; - is standard output.")
@verbosity_options
@from_hub("models")
def bench(models: tuple[Path, ...], json_path: Path | None, quiet: bool, verbose: bool, **options: Any) -> None:
    """Time MODELs in turns on this machine; the first one is what the others are held against.

    Each is an .onnx file, a folder with model.onnx, or hf://org/name, and runs in a process of its own, which rests while others
    have their turn. Shapes are 1 × 32, 1 × 128 and 8 × 128 (batch × length), or every --batch-size with every --sequence-length;
    of --data 1 and 8 rows, or every --batch-size. A model counts as faster or slower only if the 95 % interval of the ratio of
    the medians leaves out 1.
    """
    from squeeze_onnx.cli.bench_tables import print_benchmark
    from squeeze_onnx.cli.next_lines import after_bench
    from squeeze_onnx.cli.writing import refuse_overwriting_models, write_json
    from squeeze_onnx.evaluate.bench_config import BenchConfig
    from squeeze_onnx.evaluate.benchmark import bench as run

    refuse_overwriting_models(models, json_path)
    report = run(models, BenchConfig(**options), progress_track(quiet=quiet)).to_json()
    if json_path is not None:
        write_json(report, json_path)
    console = output_console(quiet=quiet or str(json_path) == "-")
    print_benchmark(report, console, verbose=verbose)
    if (line := after_bench(models)) is not None:
        console.print(line, style="dim")
