"""The folder that `optimize` writes: the finished model, looked at before the folder appears, its plan and its reports."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.embedding_output.files import write_files
from squeeze_onnx.compress.embedding_output.stage import shrink_output
from squeeze_onnx.compress.forecast import predicted_output_error
from squeeze_onnx.compress.looker import looker_of
from squeeze_onnx.compress.lowering import finish, planned_precision
from squeeze_onnx.compress.model_steps import refuse_broken, steps_of
from squeeze_onnx.compress.objectives import latency_report
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.squeezing import carry_out
from squeeze_onnx.compress.step_watch import Watch
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.tokens.stage import prunes
from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.repository import find_repository, repository_of
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.evaluate.last_look import StepName, StepObserver, unwatched
from squeeze_onnx.evaluate.output_rows import share_moved
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.io.size import measure_files
from squeeze_onnx.report.html import render_optimization
from squeeze_onnx.report.json import Sizes, optimization_report
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.ownership import files_in
from squeeze_onnx.support.readable import readable_bytes
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.workflows.decoder_cache import cache_entry, follow_in_files
from squeeze_onnx.workflows.notes import notes_of

_REPORTS = ("report.json", "report.html")

LARGE = 1 << 28
"""Bytes of a model that is left in its file to be run once, where nothing else was ever run."""


def watch_for(context: Context) -> Watch:
    """Return what looks at the model after each step, against the dense one."""
    precision = planned_precision(context.plan, context.config).name
    return Watch(looker_of(context), steps_of(context.config, precision, prunes=prunes(context)))


def write_folder(
    context: Context, result: SqueezeResult, folder: Path, clock: Stopwatch, observer: StepObserver = unwatched
) -> dict[str, Any]:
    """Fill the empty ``folder``: the model, its tokenizer and configuration, and the plan.

    ``clock`` has what was timed so far; the ``observer`` sees the model fused.
    Returns what goes into ``report.json`` (see `write_report`), but for its ``frontier`` and what `check_written` adds.
    """
    finished = finish(context, result.model, result.plan, clock=clock, observer=observer, encoded=result.encoded)
    with clock.stage("embedding output"):
        outcome = shrink_output(context, finished.model)
    with clock.stage("save"):
        repository = repository_of(result.model.path)
        target = repository.place_in(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        files = save_model(finished.model.ir, target, external_data=context.config.external_data)
        copy_companions(repository, folder)
        if outcome is not None:
            write_files(folder, repository, outcome.shrunk)
        cache = cache_entry(context.dense.ir, finished.model.ir)
        rewritten = follow_in_files(cache, repository, folder)
        sizes = Sizes(context.given_size, measure_files(files, finished.model.ir))
        _refuse_too_large(context, sizes)
    report = optimization_report(context.config, result, finished, sizes, {**clock.seconds, **result.timing})
    report["vocabulary"] = None if context.words is None else context.words.to_json()
    report["stored_embedding"] = None if outcome is None else outcome.report
    report["cache"] = None if cache is None else {**cache, "files": list(rewritten)}
    _write_json(folder / "plan.json", finished.plan.to_json())
    report["written"] = sorted({*files_in(folder), *_REPORTS})
    return report


def check_written(
    context: Context, folder: Path, report: Mapping[str, Any], watch: Watch, survey: Survey, *, clock: Stopwatch
) -> dict[str, Any]:
    """Return what the report says of the model in ``folder`` as it ships, beside the dense one that was surveyed.

    That is the last look at it, its certificate and how its embeddings are made (both None without data), and its latency, if
    that was the objective. ``report`` is that of `write_folder`.

    Raises LastLookError if it answers far from what was predicted, unless the model is to be written all the same, and
    ModelError if ONNX Runtime runs the model that came in, but not this one.
    """
    config, looker, path = context.config, watch.looker, find_repository(folder).model_path
    with clock.stage("last look"):
        predicted: dict[StepName, float | None] = {
            "squeezing": predicted_output_error(context, survey),
            "pruning": None if report["tokens"] is None else report["tokens"]["damage"],
            "fusing": 0.0,
            "rounding": report["precision"]["predicted_damage"],
        }
        nothing_ran = not looker.text and len(watch.steps) == 1
        with _opened_cheaply(path) if nothing_ran else nullcontext((path, False)) as (file, mapped):
            seen = watch.file(file, mapped=mapped)
        look = watch.conclude(seen, predicted)
        written = read_plan(folder / "plan.json")
        finding = ""
        if look.broken is not None and look.broken.name == "squeezing" and written.refit and not config.force_write:
            finding = _without_refit(context, written, survey)
        refuse_broken(look, watch.steps, force=config.force_write, finding=finding)
    notes = notes_of(report, survey)
    found: dict[str, Any] = {"last_look": look.to_json(), "certificate": None, "embedding": None, "notes": notes}
    if looker.text and not isinstance(seen, str):
        found["certificate"] = looker.certificate(seen).to_json()
    if looker.text:
        found["embedding"] = embedding_entry(context.known_head)
    if config.objective == "latency":
        with clock.stage("latency"):
            found["latency"] = latency_report(context, path, written, survey.objective)
    return found


def _refuse_too_large(context: Context, sizes: Sizes) -> None:
    limit = context.config.byte_limit
    if limit is not None and sizes.after.bytes > limit:
        raise OptionError(
            f"`max_size` {readable_bytes(limit)}: the model came out at {sizes.after.bytes} bytes, which was not predicted; "
            f"ask for {readable_bytes(2 * limit - sizes.after.bytes)}"
        )


@contextmanager
def _opened_cheaply(path: Path) -> Iterator[tuple[Path, bool]]:
    """Give a file of the model at ``path`` and whether to map it: a large one takes no memory if its weights lie outside."""
    files = [file for file in path.parent.glob(f"{path.name}*") if file.is_file()]
    if sum(file.stat().st_size for file in files) < LARGE:
        yield path, False
    elif len(files) > 1:
        yield path, True
    else:
        with TemporaryDirectory(dir=path.parent) as scratch:
            copy = Path(scratch) / path.name
            save_model(load_model(path).ir, copy, external_data=True)
            yield copy, True


def _without_refit(context: Context, plan: Plan, survey: Survey) -> str:
    """Say how far the outputs would have moved without the refit."""
    looker = looker_of(context)
    rows = looker.rows_of(carry_out(context, replace(plan, refit=False), survey).model.ir)
    assert rows is not None, "there is text"
    return f"without the refit (`refit=False`) they move by {share_moved(rows, looker.dense.rows):.2g}; "


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``report`` into ``folder``, for machines and for people."""
    as_json, as_page = (folder / name for name in _REPORTS)
    _write_json(as_json, report)
    as_page.write_text(render_optimization(report), encoding="utf-8")


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
