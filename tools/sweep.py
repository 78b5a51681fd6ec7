"""Every graph: analyzed, squeezed to half, opened by ONNX Runtime, and factored at full rank without changing its outputs.

    python -m tools.sweep [--row backend|exports] [--findings FILE] [--cache DIR]

Over all models of the onnx package's backend tests and exports of many architectures (`tools.sweep_corpus`). What is quantized,
or has weights that are inputs, is looked at a second time with --dequantize and --freeze-inputs ("prepared"). A model ends as
one of `OUTCOMES`; `FAULTS` must not occur. Models are looked at in processes of their own, so that one that takes the process
down, or does not end, is only that. The counts are rows of models/sweep/results/sweep.json.
"""

import json
import multiprocessing
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import onnx

from squeeze_onnx import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.preparing import open_model
from squeeze_onnx.graph.io.model import OnnxModel, save_model
from squeeze_onnx.graph.match.operators import CLOSED_OPERATORS, INTEGERS
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site
from squeeze_onnx.support.errors import SqueezeError
from squeeze_onnx.workflows.optimize import analyze, optimize
from tools.measuring import Clock, Recorder, row_options
from tools.sweep_corpus import FLOAT, models_in, write_architectures, write_backend_models
from tools.sweep_outputs import BrokenError, Expected, differences
from tools.tolerances import EXACT

OUTCOMES = {
    "squeezed": "squeezed, opened, and equal at full rank",
    "nothing to squeeze": "no weight that can be factored: said so; what `save_model` writes is equal",
    "refused": "another sentence that says what is wrong with it",
    "wrong": "other outputs at full rank, or after loading and saving",
    "broken": "ONNX Runtime runs the original and not what was written",
    "traceback": "an error that nobody meant",
    "crash": "the process ended, or did not end",
}
SOURCES: dict[str, Callable[[Path, Path], None]] = {"backend": write_backend_models, "exports": write_architectures}
"""What `main` sweeps over: each writes models, with the help of a cache, to a folder."""
FAULTS = ("wrong", "broken", "traceback", "crash")
EVERYTHING = tuple(str(role) for role in Role)

PREPARED = " prepared"
"""Added to where a model comes from, if it was dequantized and its inputs were frozen."""
_ROUNDING = 0.3
"""How far, as a share of their norm, the outputs of a dequantized model may be from those of the float one, or its own before."""
_LIMIT_SECONDS = 900.0
_CHUNK = 200


@dataclass(frozen=True)
class Job:
    """A model to look at, as it is or ``prepared``: dequantized, and weights that are inputs made constants."""

    folder: Path
    prepared: bool = False

    @property
    def name(self) -> str:
        """Where the model comes from, and how it is called there."""
        return f"{self.folder.parent.name}{PREPARED if self.prepared else ''}/{self.folder.name}"

    @property
    def options(self) -> dict[str, Any]:
        """What it is taken as."""
        taken_as: dict[str, Any] = {"include": EVERYTHING, "simulations": 1}
        if not self.prepared:
            return taken_as
        graph = onnx.load(self.folder / "model.onnx", load_external_data=False).graph
        return taken_as | {"dequantize": _has_integers(graph), "freeze_inputs": _has_weights_as_inputs(graph)}


@dataclass(frozen=True)
class Finding:
    """What became of one model. ``compared`` says whether the original could be run on inputs that came with it."""

    name: str
    outcome: str
    sites: int = 0
    compared: bool = False
    detail: str = ""


class _WrongError(Exception):
    """Other outputs."""


def jobs_in(folder: Path) -> Iterator[Job]:
    """Yield what there is to look at, in a fixed order."""
    for model in models_in(folder):
        yield Job(model)
        graph = onnx.load(model / "model.onnx").graph
        if _has_integers(graph) or _has_weights_as_inputs(graph):
            yield Job(model, prepared=True)


def _has_integers(graph: onnx.GraphProto) -> bool:
    quantized = any(CLOSED_OPERATORS.get(_op(node), ((), ""))[1] == INTEGERS for node in graph.node)
    return quantized or any(node.op_type == "DequantizeLinear" for node in graph.node)


def _has_weights_as_inputs(graph: onnx.GraphProto) -> bool:
    inputs = {value.name for value in graph.input}
    return any(tensor.name in inputs for tensor in graph.initializer)


def _op(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def look_at(job: Job) -> Finding:
    """Do all of it with one model."""
    sites, expected = 0, None
    try:
        try:
            model = open_model(job.folder, AnalyzeConfig(**job.options))
            expected = Expected.of(job.folder)
            if job.prepared:
                expected = _compare_prepared(model, expected, job.folder / FLOAT)
            else:
                _compare(model, expected)
            sites = len(find_sites(model.ir).sites)
            if sites:
                _factor_at_full_rank(model)
                _compare(model, expected)
            _squeeze(job, expected)
        except SqueezeError as error:
            outcome = "nothing to squeeze" if "has no eligible MatMul" in str(error) else "refused"
            return Finding(job.name, outcome, sites, expected is not None, " ".join(str(error).split()))
        except _WrongError as error:
            return Finding(job.name, "wrong", sites, True, str(error))
        except BrokenError as error:
            return Finding(job.name, "broken", sites, True, str(error))
    except Exception:  # noqa: BLE001 - this is what is looked for
        return Finding(job.name, "traceback", sites, expected is not None, traceback.format_exc())
    return Finding(job.name, "squeezed", sites, expected is not None)


def _factor_at_full_rank(model: OnnxModel) -> None:
    for site in find_sites(model.ir).sites:
        left, values, right = np.linalg.svd(site.weight.numpy().astype(np.float64), full_matrices=False)
        if min(left.shape[1], right.shape[0]) > 0:
            factor_site(model.ir, site, left * np.sqrt(values), np.sqrt(values)[:, None] * right)


def _squeeze(job: Job, expected: Expected | None) -> None:
    analyze(job.folder, AnalyzeConfig(**job.options))
    with TemporaryDirectory() as work:
        optimize(job.folder, Path(work) / "out", OptimizeConfig(method="svd", keep=0.5, **job.options))
        if expected is not None:
            expected.run(Path(work) / "out" / "model.onnx", expected.feeds)


def _compare(model: OnnxModel, expected: Expected | None) -> None:
    """Save ``model`` and hold its outputs against those that are ``expected``."""
    outputs = _outputs(model, expected)
    if expected is None or not expected.steady:
        return
    difference = differences(outputs, expected.outputs, expected.tolerance)
    if difference:
        raise _WrongError(difference)


def _compare_prepared(model: OnnxModel, original: Expected | None, float_folder: Path) -> Expected | None:
    """Hold a prepared ``model`` against its ``original`` and the float model that this was rounded from: it has to be near one.

    Near the float one if the rounding is taken back, near the original if that cannot be done. Returns what to expect now.
    """
    outputs = _outputs(model, original)
    if original is None:
        return None
    known = [original, Expected.of(float_folder) if float_folder.exists() else None]
    apart = [differences(outputs, each.outputs, _ROUNDING) for each in known if each is not None and each.steady]
    if apart and all(apart):
        raise _WrongError(", and ".join(apart))
    return replace(original, outputs=outputs)


def _outputs(model: OnnxModel, expected: Expected | None) -> Sequence[Any]:
    """Save ``model``, and return its outputs if something is expected of it."""
    with TemporaryDirectory() as work:
        path = Path(work) / "model.onnx"
        save_model(model.ir, path)
        return () if expected is None else expected.run(path, expected.feeds)


def sweep(jobs: Sequence[Job]) -> list[Finding]:
    """Look at all models, in processes that are replaced when one goes down."""
    findings: list[Finding] = []
    while len(findings) < len(jobs):
        findings += _look_at_chunk(jobs[len(findings) : len(findings) + _CHUNK])
        click.echo(f"{len(findings)} of {len(jobs)}", err=True)
    return findings


def _look_at_chunk(jobs: Sequence[Job]) -> list[Finding]:
    """Return what one process finds; if it goes down, what it found so far and the model it went down with."""
    processes = multiprocessing.get_context("spawn")
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=_report_all, args=(jobs, sender))
    process.start()
    sender.close()
    findings: list[Finding] = []
    try:
        while len(findings) < len(jobs) and receiver.poll(_LIMIT_SECONDS):
            findings.append(receiver.recv())
    except EOFError:
        pass  # it has gone down
    if len(findings) < len(jobs):
        process.kill()
        findings.append(Finding(jobs[len(findings)].name, "crash"))
    process.join()
    return findings


def _report_all(jobs: Sequence[Job], sender: Any) -> None:
    warnings.simplefilter("ignore")
    for job in jobs:
        sender.send(look_at(job))


def summary(findings: Sequence[Finding]) -> dict[str, Any]:
    """Count: models, of them compared by running, and outcomes, of all and by where the models come from."""
    kinds = sorted({finding.name.split("/")[0] for finding in findings})
    return {
        "models": len(findings),
        "with sites": sum(finding.sites > 0 for finding in findings),
        "compared": sum(finding.compared for finding in findings),
        "faults": sum(finding.outcome in FAULTS for finding in findings),
        "outcomes": dict(Counter(finding.outcome for finding in findings)),
        "kinds": {kind: dict(Counter(f.outcome for f in findings if f.name.startswith(f"{kind}/"))) for kind in kinds},
    }


@click.command()
@click.option("--findings", "findings_path", type=click.Path(path_type=Path), help="Write there what became of each.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path.home() / ".cache" / "squeeze-onnx")
@row_options
def main(findings_path: Path | None, cache: Path, recorder: Recorder) -> None:
    """Sweep, and keep a row of models/sweep/results/sweep.json for each source; exit status 1 if there is a fault."""
    findings = []
    for source in filter(recorder.wants, SOURCES):
        clock = Clock()
        with TemporaryDirectory() as folder:
            SOURCES[source](cache, Path(folder))
            found = sweep(list(jobs_in(Path(folder))))
        values = summary(found)
        click.echo(json.dumps(values, indent=1))
        allowed = {"models": EXACT, "faults": EXACT}
        recorder.keep("sweep/sweep", source, ("tools.sweep",), values, allowed, seconds=clock.lap())
        findings += found
    faults = [finding for finding in findings if finding.outcome in FAULTS]
    for fault in faults:
        click.echo(f"{fault.name}: {fault.outcome}: {fault.detail.strip().splitlines()[-1] if fault.detail else ''}")
    if findings_path is not None:
        told = [asdict(finding) for finding in findings if finding.outcome != "nothing to squeeze"]
        findings_path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
