"""Search: the smallest model whose task metric drops by at most so many points.

Budgets are bisected on rows that the gate does not look at (see `squeeze_onnx.workflows.gate`); the model found is then held
against the dev set. Only if it fails there is a larger one asked, in doubling steps, and the report lists every such look.
"""

import shutil
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from squeeze_onnx.compress.allocators import GlobalBudget
from squeeze_onnx.compress.calibration_entry import calibration_entry
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.embedding_output.stage import refuse_no_embedder, refuse_stored
from squeeze_onnx.compress.forecast import allocator_for
from squeeze_onnx.compress.frontier import GRID, FrontierPoint, back_off, smallest_passing
from squeeze_onnx.compress.lowering import planned_precision
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.preparing import prepare, refuse_idle_fusing, refuse_unrunnable, stored_alike
from squeeze_onnx.compress.squeezing import carry_out, plan_for, pruned
from squeeze_onnx.compress.step_watch import Watch
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.survey_cache import check_cache
from squeeze_onnx.compress.tokens.stage import refuse_unprunable
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.evaluate.evaluator import Evaluator
from squeeze_onnx.evaluate.metrics import change_of
from squeeze_onnx.graph.io.model import load_model, refuse_overwriting_input
from squeeze_onnx.graph.io.spilling import spill_file
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.sessions import session_threads
from squeeze_onnx.support.errors import GateError, OptionError
from squeeze_onnx.support.progress import silent
from squeeze_onnx.support.readable import readable_bytes
from squeeze_onnx.support.staging import staged_folder
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.workflows.explicit_command import goal_entry
from squeeze_onnx.workflows.gate import GateConfig, choose_rows, make_evaluators
from squeeze_onnx.workflows.given import Given
from squeeze_onnx.workflows.kept_words import with_kept_words, words_notes
from squeeze_onnx.workflows.opening import settled, surveyed, text_notes
from squeeze_onnx.workflows.result_folder import check_written, watch_for, write_folder, write_report

Tell = Callable[[Evaluator, FrontierPoint], None]
"""Hears of every model as soon as it is graded."""


@dataclass(frozen=True)
class _Candidate:
    """A model of the frontier, complete in a folder of its own."""

    keep: float
    folder: Path
    report: Mapping[str, Any]
    watch: Watch


@dataclass(frozen=True, eq=False)
class _Workshop:
    """Makes candidates of one survey, each from a fresh copy of the model."""

    context: Context
    survey: Survey
    folder: Path

    def make(self, keep: float) -> _Candidate:
        """Write the candidate of budget ``keep`` into a new folder."""
        context = _at(self.context, keep)
        plan, watch = plan_for(context, self.survey), watch_for(context)
        folder = self.folder / f"keep-{keep}"
        folder.mkdir(parents=True)
        with spill_file(folder) as store:
            result = carry_out(replace(context, store=store), plan, self.survey)
            watch("squeezing", result.model.ir)
            result = pruned(context, result)
            if result.tokens is not None:
                watch("pruning", result.model.ir)
            report = write_folder(context, result, folder, Stopwatch(), watch)
        return _Candidate(keep, folder, report, watch)


def optimize_within(
    path: str | Path,
    out: str | Path,
    gate: GateConfig,
    config: OptimizeConfig | None = None,
    *,
    tell: Tell = lambda evaluator, point: None,
    **given: Unpack[Given],
) -> dict[str, Any]:
    """Squeeze the model at ``path`` into the folder ``out`` as far as ``gate`` allows; ``out`` appears whole or not at all.

    Returns the content of ``report.json``, with all that was tried under ``search``. Where ``gate.data`` has no train split the
    dev set is searched itself, and ``search`` says so.

    Raises GateError if even the largest budget fails on the dev set, and what `optimize` raises.
    """
    config, calibration = settled(path, config or OptimizeConfig(), given.get("calibration"), gated=True)
    cache, track = given.get("cache"), given.get("track", silent)
    out = Path(out)
    timed = config.objective == "latency" and config.keep is not None
    if any(budget is not None for budget in (None if timed else config.keep, config.preset, config.rank_rule)):
        raise OptionError(
            "`max_drop` finds the budget itself; leave out `keep`, `preset` and `rank_rule`, or hold one budget "
            "against the gate with validate `max_drop`"
        )
    if config.distill is not None:
        raise OptionError(
            "`max_drop` does not distill every model it looks at; leave out `distill`, then give it with `plan` and the "
            "plan.json that was found"
        )
    if cache is not None:
        check_cache(cache, out)
    planned_precision(None, config)
    resolve_provider(config.provider)
    looks = config.method == "auto" or METHODS[config.method].needs_calibration
    reads = config.refit or config.shrinks_output or config.prune_tokens or config.precision not in (None, "fp32")
    if not (looks or reads):
        calibration = None
    clock = Stopwatch()
    with session_threads(config.threads), with_kept_words(path, out, config, calibration, clock) as (dense, words):
        with clock.stage("load"):
            model = load_model(find_repository(dense).model_path)
            config = stored_alike(model.ir, config)
            prepare(model.ir, config)
            refuse_idle_fusing(model, config)
            refuse_overwriting_input(model, out)
            refuse_unrunnable(model, config)
            rows = choose_rows(model, gate, calibration, config)
            context = Context(model, config, track=track, looked_at=calibration is not None, words=words)
            refuse_stored(context)
            context = context.with_text(calibration, rows.texts)
            refuse_no_embedder(context)
            refuse_unprunable(context)
        with staged_folder(out, force=given.get("force", False)) as folder:
            with clock.stage("baseline"):
                selection, final = make_evaluators(model, rows, gate, config, track, given=path if words else None)
            context, survey, goal = surveyed(context, cache)
            with clock.stage("search"):
                workshop = _Workshop(context, survey, folder / "candidates")
                chosen, search = _Search(workshop, gate, selection, final, tell).run(_budgets(context, survey))
            for file in chosen.folder.iterdir():
                file.rename(folder / file.name)
            shutil.rmtree(workshop.folder)
            found = check_written(_at(context, chosen.keep), folder, chosen.report, chosen.watch, survey, clock=clock)
            # What the chosen candidate took is a part of the search.
            timing = {**survey.timing, **clock.seconds}
            entry = None if calibration is None else calibration_entry(calibration, context.batches, context.weighed)
            report = {
                **chosen.report,
                "calibration": entry,
                "search": search,
                "score": _score(search),
                "frontier": None,
                "goal": goal_entry(context, calibration, (Path(path), out), goal, gate),
                **found,
                "notes": [*text_notes(calibration), *words_notes(words), *found["notes"]],
                "timing": timing,
            }
            write_report(report, folder)
            return report


class _Search:
    """One search, and what it has tried so far."""

    def __init__(
        self, workshop: _Workshop, gate: GateConfig, selection: Evaluator, final: Evaluator, tell: Tell
    ) -> None:
        self._workshop = workshop
        self._gate = gate
        self._selection = selection
        self._final = final
        self._tell = tell
        self._tried: dict[str, list[FrontierPoint]] = {"selection": [], "gate": []}
        self._best: _Candidate | None = None

    def run(self, grid: Sequence[float]) -> tuple[_Candidate, dict[str, Any]]:
        """Return the smallest candidate found that passes the gate, and the report of the search; GateError if none does."""
        first = min(smallest_passing(grid, self._passes_selection), len(grid) - 1)
        for keep in back_off(grid, first):
            candidate = self._best if self._best and self._best.keep == keep else self._workshop.make(keep)
            point = self._grade("gate", self._final, candidate)
            if point.passed:
                return candidate, self._report()
            shutil.rmtree(candidate.folder)
        metric, config = self._final.predictor.task.primary_metric, self._workshop.context.config
        still = f"{change_of(metric, point.grade.drop_points)} on the {self._final.rows.split.name} split; allow more"
        if config.byte_limit is not None:
            raise GateError(
                f"no model of at most {readable_bytes(config.byte_limit)} passes `max_drop` {self._gate.max_drop:g}: with "
                f"the best that was found, of {readable_bytes(point.bytes)}, {metric} {still} of either, or more `effort`"
            )
        raise GateError(
            f"no model that is smaller passes `max_drop` {self._gate.max_drop:g}: with `keep` {grid[-1]} {metric} still {still}"
        )

    def _passes_selection(self, keep: float) -> bool:
        """Grade the candidate of this budget; of all candidates only the smallest that passed stays on disk."""
        candidate = self._workshop.make(keep)
        point = self._grade("selection", self._selection, candidate)
        useless = self._best if point.passed else candidate
        if useless is not None:
            shutil.rmtree(useless.folder)
        if point.passed:
            self._best = candidate
        return point.passed

    def _grade(self, stage: str, evaluator: Evaluator, candidate: _Candidate) -> FrontierPoint:
        grade = evaluator.grade(find_repository(candidate.folder).model_path, self._workshop.context.track)
        passed = grade.drop_points <= self._gate.max_drop
        point = FrontierPoint(candidate.keep, candidate.report["size"]["optimized_bytes"], grade, passed)
        self._tried[stage].append(point)
        self._tell(evaluator, point)
        return point

    def _report(self) -> dict[str, Any]:
        task = self._final.predictor.task
        stages = {"selection": self._selection, "gate": self._final}
        return {
            "task": task.name,
            "primary_metric": task.primary_metric,
            "max_drop": self._gate.max_drop,
            **{
                stage: {
                    "split": evaluator.rows.split.name,
                    "rows": len(evaluator.rows.texts),
                    "baseline": evaluator.baseline_metric,
                    "points": [point.to_json() for point in self._tried[stage]],
                }
                for stage, evaluator in stages.items()
            },
        }


def _score(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model that was written scores on the rows that the gate stands on."""
    gate, last = search["gate"], search["gate"]["points"][-1]
    named = {name: search[name] for name in ("task", "primary_metric")}
    rows = {name: gate[name] for name in ("split", "rows", "baseline")}
    return {**named, **rows, "candidate": last["metric"], "drop_points": last["drop_points"]}


def _budgets(context: Context, survey: Survey) -> tuple[float, ...]:
    """Return the budgets of `GRID` that rank 1 everywhere, and the floors, fit in; raises as `plan_for` for the largest.

    A size or a time that is asked for is the one budget.
    """
    if context.config.byte_limit is not None:
        allocator = allocator_for(context, survey)
        assert isinstance(allocator, GlobalBudget), "checked by OptimizeConfig"
        return (allocator.keep,)
    if context.config.keep is not None:
        return (context.config.keep,)

    def fits(keep: float) -> bool:
        try:
            plan_for(context.at(keep), survey)
        except OptionError:
            return False
        return True

    plan_for(context.at(GRID[-1]), survey)
    return GRID[bisect_left(GRID, True, key=fits) :]


def _at(context: Context, keep: float) -> Context:
    """Return the same run with the budget ``keep`` of the grid, or the size that it has."""
    return context if context.config.byte_limit is not None else context.at(keep)
