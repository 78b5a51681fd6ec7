"""Every graph: analyzed, squeezed to half, opened by ONNX Runtime, and factored at full rank without changing its outputs.

    python -m tools.sweep --json sweep.json [--only node …] [--cache DIR]

Over all models of the onnx package's backend tests and exports of many architectures (`tools.sweep_corpus`). A model ends as one
of `OUTCOMES`; the last three must not occur. Models are looked at in processes of their own, so that one that takes the process
down, or does not end, is only that.
"""

import json
import multiprocessing
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnx

from squeeze_onnx import AnalyzeConfig, OptimizeConfig, load_model
from squeeze_onnx.errors import SqueezeError
from squeeze_onnx.graph.model import OnnxModel, save_model
from squeeze_onnx.graph.rewrite import factor_site
from squeeze_onnx.graph.roles import Role
from squeeze_onnx.graph.sites import find_sites
from squeeze_onnx.pipeline import analyze, optimize
from tools.sweep_corpus import models_in, write_architectures, write_backend_models

OUTCOMES = {
    "squeezed": "squeezed, opened, and equal at full rank",
    "nothing to squeeze": "no weight that can be factored: said so; what `save_model` writes is equal",
    "refused": "another sentence that says what is wrong with it",
    "wrong": "other outputs at full rank, or after loading and saving",
    "broken": "ONNX Runtime runs the original and not what was written",
    "traceback": "an error that nobody meant",
    "crash": "the process ended, or did not end",
}
FAULTS = ("wrong", "broken", "traceback", "crash")
EVERYTHING = tuple(str(role) for role in Role)

_COARSE = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
_LIMIT_SECONDS = 900.0
_CHUNK = 200


@dataclass(frozen=True)
class Finding:
    """What became of one model. ``compared`` says whether ONNX Runtime could run the original on inputs that came with it."""

    name: str
    outcome: str
    sites: int = 0
    compared: bool = False
    detail: str = ""


class _WrongError(Exception):
    """Other outputs."""


class _BrokenError(Exception):
    """A graph that does not run any more."""


def look_at(folder: Path) -> Finding:
    """Do all of it with the model in ``folder``."""
    name = f"{folder.parent.name}/{folder.name}"
    sites, expected = 0, None
    try:
        try:
            model = load_model(folder)
            expected = _Expected.of(folder)
            _compare(model, expected)
            sites = len(find_sites(model.ir).sites)
            if sites:
                _factor_at_full_rank(model)
                _compare(model, expected)
            _squeeze(folder, expected)
        except SqueezeError as error:
            outcome = "nothing to squeeze" if "has no eligible MatMul" in str(error) else "refused"
            return Finding(name, outcome, sites, expected is not None, " ".join(str(error).split()))
        except _WrongError as error:
            return Finding(name, "wrong", sites, True, str(error))
        except _BrokenError as error:
            return Finding(name, "broken", sites, True, str(error))
    except Exception:  # noqa: BLE001 - this is what is looked for
        return Finding(name, "traceback", sites, expected is not None, traceback.format_exc())
    return Finding(name, "squeezed", sites, expected is not None)


def _factor_at_full_rank(model: OnnxModel) -> None:
    for site in find_sites(model.ir).sites:
        left, values, right = np.linalg.svd(site.weight.numpy().astype(np.float64), full_matrices=False)
        if min(left.shape[1], right.shape[0]) > 0:
            factor_site(model.ir, site, left * np.sqrt(values), np.sqrt(values)[:, None] * right)


def _squeeze(folder: Path, expected: "_Expected | None") -> None:
    analyze(folder, AnalyzeConfig(simulations=1, include=EVERYTHING))
    with TemporaryDirectory() as work:
        config = OptimizeConfig(method="svd", keep=0.5, include=EVERYTHING, simulations=1)
        optimize(folder, Path(work) / "out", config)
        if expected is not None:
            _run(Path(work) / "out" / "model.onnx", expected.feeds)


@dataclass(frozen=True, eq=False)
class _Expected:
    """What the original returns, whether it does so again, and how near to it another graph must come."""

    feeds: Mapping[str, np.ndarray]
    outputs: Sequence[Any]
    steady: bool
    tolerance: float

    @classmethod
    def of(cls, folder: Path) -> "_Expected | None":
        """Run the original twice; None if it has no inputs or onnxruntime does not run it."""
        if not (folder / "inputs.npz").exists():
            return None
        with np.load(folder / "inputs.npz") as archive:
            feeds = dict(archive)
        try:
            outputs, again = _run(folder / "model.onnx", feeds, times=2)
        except _BrokenError:
            return None
        kinds = {tensor.data_type for tensor in onnx.load(folder / "model.onnx").graph.initializer}
        return cls(feeds, outputs, not _differences(outputs, again, 0.0), 3e-2 if kinds & _COARSE else 1e-5)


def _compare(model: OnnxModel, expected: "_Expected | None") -> None:
    """Save ``model`` and hold its outputs against those that are ``expected``."""
    with TemporaryDirectory() as work:
        path = Path(work) / "model.onnx"
        save_model(model.ir, path)
        if expected is None:
            return
        [outputs] = _run(path, expected.feeds)
    difference = _differences(outputs, expected.outputs, expected.tolerance) if expected.steady else ""
    if difference:
        raise _WrongError(difference)


def _differences(actual: Sequence[Any], expected: Sequence[Any], tolerance: float) -> str:
    """Say where outputs differ by more than ``tolerance`` of their norm; nothing if they do not."""
    for index, (found, wanted) in enumerate(zip(actual, expected, strict=True)):
        if not isinstance(wanted, np.ndarray) or wanted.dtype.kind not in "fiub":
            if repr(found) != repr(wanted):
                return f"output {index} is another one"
            continue
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            return f"output {index} is {found.dtype} {found.shape}, not {wanted.dtype} {wanted.shape}"
        one, two = (np.nan_to_num(array.astype(np.float64), posinf=1e30, neginf=-1e30) for array in (found, wanted))
        apart, size = float(np.linalg.norm(one - two)), float(np.linalg.norm(two))
        if apart > tolerance * max(1.0, size):
            return f"output {index} is off by {apart:.3g} of {size:.3g}"
    return ""


def _run(path: Path, feeds: Mapping[str, np.ndarray], times: int = 1) -> list[Sequence[Any]]:
    """Return the outputs of so many runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = {value.name for value in session.get_inputs()}
        used = {name: array for name, array in feeds.items() if name in names}
        return [session.run(None, used) for _ in range(times)]
    except Exception as error:  # onnxruntime raises classes of many names
        raise _BrokenError(" ".join(str(error).split())[:400]) from error


def sweep(folders: Sequence[Path]) -> list[Finding]:
    """Look at all models, in processes that are replaced when one goes down."""
    findings: list[Finding] = []
    while len(findings) < len(folders):
        chunk = folders[len(findings) : len(findings) + _CHUNK]
        findings += _look_at_chunk(chunk)
        click.echo(f"{len(findings)} of {len(folders)}", err=True)
    return findings


def _look_at_chunk(folders: Sequence[Path]) -> list[Finding]:
    """Return what one process finds; if it goes down, what it found so far and the model it went down with."""
    processes = multiprocessing.get_context("spawn")
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=_report_all, args=(folders, sender))
    process.start()
    sender.close()
    findings: list[Finding] = []
    try:
        while len(findings) < len(folders) and receiver.poll(_LIMIT_SECONDS):
            findings.append(receiver.recv())
    except EOFError:
        pass  # it has gone down
    if len(findings) < len(folders):
        folder = folders[len(findings)]
        process.kill()
        findings.append(Finding(f"{folder.parent.name}/{folder.name}", "crash"))
    process.join()
    return findings


def _report_all(folders: Sequence[Path], sender: Any) -> None:
    warnings.simplefilter("ignore")
    for folder in folders:
        sender.send(look_at(folder))


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """Count: models, of them compared by running, and outcomes, of all and by where the models come from."""
    kinds = sorted({finding.name.split("/")[0] for finding in findings})
    return {
        "models": len(findings),
        "with sites": sum(finding.sites > 0 for finding in findings),
        "compared": sum(finding.compared for finding in findings),
        "outcomes": dict(Counter(finding.outcome for finding in findings)),
        **{kind: dict(Counter(f.outcome for f in findings if f.name.startswith(f"{kind}/"))) for kind in kinds},
    }


@click.command()
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write counts and findings there.")
@click.option("--only", multiple=True, type=click.Choice(["backend", "exports"]), default=["backend", "exports"])
@click.option("--cache", type=click.Path(path_type=Path), default=Path.home() / ".cache" / "squeeze-onnx")
@click.option("--corpus", type=click.Path(path_type=Path), help="Keep the models there, or take those that are.")
def main(json_path: Path | None, only: Sequence[str], cache: Path, corpus: Path | None) -> None:
    """Sweep; exit status 1 if there is a fault."""
    with TemporaryDirectory() as temporary:
        folder = corpus or Path(temporary)
        if not list(models_in(folder)):
            if "backend" in only:
                write_backend_models(folder)
            if "exports" in only:
                write_architectures(cache, folder)
        findings = sweep(list(models_in(folder)))
    counts = summary(findings)
    click.echo(json.dumps(counts, indent=1))
    faults = [finding for finding in findings if finding.outcome in FAULTS]
    for fault in faults:
        click.echo(f"{fault.name}: {fault.outcome}: {fault.detail.strip().splitlines()[-1] if fault.detail else ''}")
    if json_path is not None:
        told = [asdict(finding) for finding in findings if finding.outcome != "nothing to squeeze"]
        json_path.write_text(json.dumps({"counts": counts, "findings": told}, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
