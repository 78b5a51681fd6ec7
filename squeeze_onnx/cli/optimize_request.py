"""What one call of ``squeeze-onnx optimize`` asks for, put together from its options."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import click

from squeeze_onnx.cli.data_lines import columns_of_text, own_text
from squeeze_onnx.cli.goal_lines import forecast_lines
from squeeze_onnx.cli.next_lines import READING, after_optimization, beside
from squeeze_onnx.cli.writing import refuse_overwriting_models, write_json
from squeeze_onnx.compress.calibration_source import TASK_PREFIX, CalibrationConfig, is_archive
from squeeze_onnx.compress.config import DEFAULT_OBJECTIVE, OptimizeConfig
from squeeze_onnx.compress.efforts import with_effort
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.learning.checkpoints import CheckpointConfig
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track
from squeeze_onnx.workflows.dry_run import foresee
from squeeze_onnx.workflows.gate import GateConfig
from squeeze_onnx.workflows.optimize import optimize as run
from squeeze_onnx.workflows.search import Tell, optimize_within


@dataclass(frozen=True)
class GivenOptions:
    """What is asked for beside the configuration: the gate, text, and where things go."""

    max_drop: float | None
    target_latency: float | None
    plan_path: Path | None
    calibration: str | None
    columns: str | None
    metrics: tuple[str, ...]
    task: str | None
    data: str | None
    calibration_rows: int | None
    max_tokens: int | None
    tokenizer: Path | None
    checkpoint: Path | None
    checkpoint_minutes: float
    cache: Path | None
    scheduler: str | None
    force: bool
    dry_run: bool
    json_path: Path | None
    quiet: bool
    verbose: bool

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Self:
        """Take these out of the ``options`` of the command."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    def scoring(self) -> list[str]:
        """Return the options of `validate` that score what was written by what was given here."""
        columns = ("--columns", self.columns) if self.columns is not None else ()
        if self.task is not None:
            return ["--task", self.task, *(("--data", self.data) if self.data is not None else ())]
        if self.data is None:
            return []
        return ["--data", self.data, *columns, *(word for metric in self.metrics for word in ("--metric", metric))]


@dataclass(frozen=True)
class Request:
    """A run that is asked for: ``model`` to ``out`` by ``config``, on ``text``, held against ``gate`` if there is one."""

    model: Path
    out: Path
    asked: GivenOptions
    config: OptimizeConfig
    text: CalibrationConfig | None
    gate: GateConfig | None

    @classmethod
    def of(cls, model: Path, out: Path | None, options: dict[str, Any]) -> Self:
        """Read ``options``; raises OptionError for those that contradict each other, and MissingParameter without ``out``."""
        asked = GivenOptions.taken_from(options)
        if out is None:
            if not asked.dry_run:
                raise click.MissingParameter(param_hint="'-o' / '--output'", param_type="option")
            out = Path(beside(model, "small"))
        options = _with_target_latency(options, asked.target_latency)
        _refuse_contradictions(options, asked)
        refuse_overwriting_models([model] if asked.json_path else [], asked.json_path)
        source = asked.calibration or (f"{TASK_PREFIX}{asked.task}" if asked.task else None)
        rows, gated = asked.calibration_rows, asked.max_drop is not None
        if asked.data is not None and source is None:
            source, rows = own_text(asked.data, asked.columns, rows, gated=gated)
        config = OptimizeConfig(**options)
        reading: dict[str, Any] = {"max_tokens": asked.max_tokens, "tokenizer": asked.tokenizer}
        own: dict[str, Any] = {"metrics": asked.metrics, "columns": None if asked.task else asked.columns}
        gate = None
        if asked.max_drop is not None:
            gate = GateConfig(asked.max_drop, asked.task, asked.data, **own, **reading)
        columns = columns_of_text(asked.columns, asked.calibration, asked.data, task=asked.task, gated=gated)
        if asked.columns is not None and source is None:
            raise OptionError(f"--columns {asked.columns} names those of a table; give one with --calibration FILE")
        if asked.metrics and gate is None:
            raise OptionError(
                f"--metric {', '.join(asked.metrics)} is what --max-drop is in points of: add that, or leave it out"
            )
        text = None
        if source is not None:
            text = CalibrationConfig(source, asked.data, rows, seed=config.seed, columns=columns, **reading)
        return cls(model, out, asked, config, text, gate)

    @property
    def quiet(self) -> bool:
        """Whether nothing is printed, for it was asked for or JSON is."""
        return self.asked.quiet or str(self.asked.json_path) == "-"

    @property
    def _given(self) -> dict[str, Any]:
        return {"calibration": self.text, "cache": self.asked.cache, "force": self.asked.force}

    @property
    def _plan(self) -> dict[str, Any]:
        path = self.asked.plan_path
        return {"plan": None if path is None else read_plan(path)}

    def foresee(self, track: Track) -> Iterator[str]:
        """Yield what the run is predicted to come to; raises as the run would before it takes its time."""
        forecast = foresee(self.model, self.out, self.config, track=track, **self._given, **self._plan)
        self._write(forecast)
        yield from forecast_lines(forecast)

    def carry_out(self, track: Track, tell: Tell) -> dict[str, Any]:
        """Return the report of the run, which is written too where that was asked for."""
        if self.gate is not None:
            report = optimize_within(
                self.model, self.out, self.gate, self.config, tell=tell, track=track, **self._given
            )
        else:
            state = CheckpointConfig(
                (self.asked.checkpoint or self.out.parent) / f"{self.out.name}.distillation.npz",
                self.asked.checkpoint_minutes,
            )
            learns = with_effort(self.config, self.text)[0].distill is not None
            checkpoint = state if learns else None
            report = run(
                self.model, self.out, self.config, checkpoint=checkpoint, track=track, **self._given, **self._plan
            )
        self._write(report)
        return report

    def next_command(self) -> str | None:
        """Return the command that judges what was written; None if none is known to succeed."""
        told = {name: getattr(self.config, name, None) for name in READING}
        told |= {name: getattr(self.asked, name) for name in READING if hasattr(self.asked, name)}
        saved = Path(self.text.source) if self.text is not None and is_archive(self.text) else None
        return after_optimization(self.model, self.out, told, *self.asked.scoring(), saved=saved)

    def _write(self, report: dict[str, Any]) -> None:
        if self.asked.json_path is not None:
            write_json(report, self.asked.json_path)


def _with_target_latency(options: dict[str, Any], target: float | None) -> dict[str, Any]:
    """Return ``options`` with what ``--target-latency`` is short for."""
    if target is None:
        return options
    if options["max_size"] is not None:
        raise OptionError(
            f"--target-latency {target} and --max-size {options['max_size']} are two budgets, and one is spent at a time: ask "
            "for the one, and see under latency and size in report.json what it makes of the other"
        )
    if options["keep"] is not None or options["objective"] == "size":
        raise OptionError(f"--target-latency {target} is a budget by itself; leave out --keep and --objective")
    return options | {"objective": "latency", "keep": target}


def _refuse_contradictions(options: dict[str, Any], asked: GivenOptions) -> None:
    """Raise OptionError for options of which one makes another pointless."""
    checkpoint, max_drop, plan = asked.checkpoint, asked.max_drop, asked.plan_path
    if asked.dry_run and max_drop is not None:
        raise OptionError("--dry-run scores nothing, and --max-drop is about a score: leave one of them out")
    learns = options["distill"] or options["max_size"] or options["effort"]
    if checkpoint is not None and not learns:
        raise OptionError(
            f"--checkpoint {checkpoint} is where --distill keeps its state; add --distill, or leave it out"
        )
    budgets = ("keep", "max_size", "effort", "floor", "preset", "rank_rule", "include", "exclude")
    decided = [option for option in budgets if options[option]]
    decided += ["max-drop"] if max_drop is not None else []
    decided += ["objective"] if options["objective"] != DEFAULT_OBJECTIVE else []
    decided += ["method"] if options["method"] != "auto" else []
    if plan is not None and decided:
        raise OptionError(f"--plan already says what becomes of each site; leave out --{decided[0].replace('_', '-')}")
