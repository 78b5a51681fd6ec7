"""Validate: is the candidate still as good as the baseline, and is it smaller and faster?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tokenization import TextEncoder
from squeeze_onnx.evaluate.asked_of_both import encoders_for, own_questions, questions_of_glue, subjects_of
from squeeze_onnx.evaluate.bootstrap import Interval
from squeeze_onnx.evaluate.evaluation import Comparison, Encoders, Questions, Subject, compare
from squeeze_onnx.evaluate.metrics import METRICS
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.own_data import AskedModel
from squeeze_onnx.evaluate.robustness import Robustness, measure_robustness
from squeeze_onnx.evaluate.saved_comparison import compare_on, read_inputs_of_both
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.sessions import Session, SessionSettings, open_session
from squeeze_onnx.support.environment import created_now, environment
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.shown import Shown

FORMAT = "squeeze-onnx/validation/1"


@dataclass(frozen=True, repr=False)
class Validation(Shown):
    """A candidate held against a baseline on every provider asked for; ``robustness`` by provider, empty if not asked for."""

    config: ValidateConfig
    baseline: Subject
    candidate: Subject
    questions: Questions
    encoders: Encoders | None
    comparisons: tuple[Comparison, ...]
    robustness: Mapping[str, Robustness]

    @property
    def _tokenizer(self) -> str | None:
        """Where the tokens come from: its file, in the words for a model whose folder nobody saw; None if there are none."""
        if self.encoders is None:
            return None
        first, second = map(self._place_of, self.encoders)
        return first if first == second else f"{first}; the candidate's: {second}"

    def _place_of(self, encoder: TextEncoder) -> str:
        for subject in (self.baseline, self.candidate):
            if subject.name != str(subject.path) and encoder.path.is_relative_to(subject.path.parent):
                return f"{subject.name}, {encoder.path.name}"
        return str(encoder.path)

    @property
    def passed(self) -> bool:
        """Say whether the primary metric drops by at most ``max_drop`` on every provider; True without a gate."""
        return all(self._passes(comparison) for comparison in self.comparisons)

    def summary(self) -> dict[str, str]:
        """Return the score of both, or how alike they answer, and whether the gate passes."""
        first, task = self.comparisons[0], self.questions.task
        told = first.fidelity.told()
        if task is not None:
            metric = task.primary_metric
            scores = (each.metrics[metric] for each in (first.baseline, first.candidate))
            told = {f"{task.name} {metric}": " → ".join(f"{score:.4f}" for score in scores), **told}
        return told if self.config.max_drop is None else {**told, "gate": "passed" if self.passed else "failed"}

    def to_json(self) -> dict[str, Any]:
        """Return plain values. What a provider says stands under ``providers``; the first one's also at the top."""
        task = self.questions.task
        providers = {comparison.provider: self._provider_entry(comparison) for comparison in self.comparisons}
        first = self.comparisons[0]
        return {
            "format": FORMAT,
            "created": created_now(),
            "baseline": self.baseline.name,
            "candidate": self.candidate.name,
            "task": None if task is None else task.name,
            "primary_metric": None if task is None else task.primary_metric,
            "head": first.baseline.head,
            "embedding": {"baseline": first.baseline.embedding, "candidate": first.candidate.embedding},
            "data": {
                "source": None if self.config.data is None else str(self.config.data),
                **self._own_entry(),
                "positive": self._positive,
                "rows": self.questions.rows,
                "partial": self.config.limit is not None,
                "tokenizer": self._tokenizer,
                "max_tokens": None if self.encoders is None else self.encoders[0].max_tokens,
            },
            **providers[first.provider],
            "providers": providers,
            "latency": {comparison.provider: _latency_entry(comparison) for comparison in self.comparisons},
            "size": {
                "baseline_bytes": self.baseline.size.bytes,
                "candidate_bytes": self.candidate.size.bytes,
                "baseline_parameters": self.baseline.size.parameters,
                "candidate_parameters": self.candidate.size.parameters,
            },
            "files": {"baseline": self.baseline.size.sha256, "candidate": self.candidate.size.sha256},
            "max_drop": self.config.max_drop,
            "passed": self.passed,
            "settings": {
                "batch_size": self.config.batch_size,
                "threads": self.config.threads,
                "tf32": self.config.tf32,
                "seed": self.config.seed,
            },
            "environment": environment(),
        }

    @property
    def _labels(self) -> tuple[str, ...]:
        return () if self.questions.task is None else self.questions.task.labels

    @property
    def _positive(self) -> str | None:
        """The class that a metric of two is of, by its name; None where there is no such metric."""
        task = self.questions.task
        names = () if task is None else task.metrics
        of_two = any(
            name in METRICS and METRICS[name].of_two for name in names
        )  # a function that was given is gone by now
        return self._labels[1] if of_two and len(self._labels) == 2 else None

    def _passes(self, comparison: Comparison) -> bool:
        if self.config.max_drop is None or self.questions.task is None:
            return True
        return comparison.drop_points[self.questions.task.primary_metric] <= self.config.max_drop

    def _own_entry(self) -> dict[str, Any]:
        """Return what own data was read as, and why it is not scored, if it is not."""
        own = self.questions.own
        form = None if own is None else own.format
        entry = {"read_as": None, "columns": None, "columns_guessed": False} if form is None else form.to_json()
        return {name: entry[name] for name in ("read_as", "columns", "columns_guessed")} | {
            "file": None if form is None else str(form.path),
            "not_scored": None if own is None else own.note,
        }

    def _provider_entry(self, comparison: Comparison) -> dict[str, Any]:
        primary = None if self.questions.task is None else self.questions.task.primary_metric
        robustness = self.robustness.get(comparison.provider)
        return {
            "metrics": {
                name: {
                    "baseline": comparison.baseline.metrics[name],
                    "candidate": comparison.candidate.metrics[name],
                    "drop_points": comparison.drop_points[name],
                    "drop_interval": _pair(interval),
                }
                for name, interval in comparison.drops.items()
            },
            "drop_points": None if primary is None else comparison.drop_points[primary],
            "drop_interval": None if primary is None else _pair(comparison.drops[primary]),
            **asdict(comparison.fidelity),
            "robustness": None if robustness is None else robustness.to_json(),
            "sanity": None if comparison.sanity is None else comparison.sanity.to_json(self._labels),
            "passed": self._passes(comparison),
        }


def validate(
    baseline: str | Path, candidate: str | Path, config: ValidateConfig | None = None, track: Track = silent
) -> Validation:
    """Score ``candidate`` against ``baseline``, each an .onnx file or a folder with model.onnx.

    Both read the same tokens: those of ``config.tokenizer``, else of the tokenizer in the baseline's repository, else in the
    candidate's; where the tokens of both have other numbers, each reads those of its own. A model without config.json is taken to
    have the other's, and so is one whose files say nothing of embeddings.

    Raises a SqueezeError subclass for everything that is wrong with models, tokenizer, data, options or machine.
    """
    config = config or ValidateConfig()
    for provider in config.providers:
        resolve_provider(provider)
    subjects = subjects_of(find_repository(baseline), find_repository(candidate), config)
    if config.saved_inputs is not None:
        return _on_saved_inputs(subjects, config, track)
    questions = questions_of_glue(config)
    encoders = encoders_for(subjects, config, None)
    comparisons = []
    robustness = {}
    for provider in config.providers:
        first, second = _opened(subjects, provider, config)
        if questions is None:
            questions = own_questions(config, AskedModel.of(first, subjects[0].config))
            encoders = encoders_for(subjects, config, questions.task)
        comparisons.append(
            compare(
                subjects,
                (first, second),
                questions,
                encoders,
                batch_size=config.batch_size,
                seed=config.seed,
                latency_rounds=config.latency_rounds,
                track=track,
            )
        )
        if (
            config.max_drop is not None
            and questions.task is not None
            and (sanity := comparisons[-1].sanity) is not None
        ):
            sanity.require(str(subjects[0].path), questions.task.labels)
        if config.robustness:
            robustness[provider] = measure_robustness(
                (
                    OpenModel.of("baseline", first, subjects[0].config, questions.task),
                    OpenModel.of("candidate", second, subjects[1].config, questions.task),
                ),
                questions,
                encoders,
                batch_size=config.batch_size,
                seed=config.seed,
                track=track,
            )
    assert questions is not None, "there is a provider"
    return Validation(config, *subjects, questions, encoders, tuple(comparisons), robustness)


def _on_saved_inputs(subjects: tuple[Subject, Subject], config: ValidateConfig, track: Track) -> Validation:
    """Compare what ``subjects`` answer to inputs that were saved."""
    comparisons, samples = [], 0
    for provider in config.providers:
        sessions = _opened(subjects, provider, config)
        saved = read_inputs_of_both(config, sessions)
        samples = len(saved)
        comparisons.append(compare_on(saved, subjects, sessions, config, track))
    return Validation(config, *subjects, Questions((), samples=samples), None, tuple(comparisons), {})


def _opened(subjects: tuple[Subject, Subject], provider: str, config: ValidateConfig) -> tuple[Session, Session]:
    settings = SessionSettings(threads=config.threads, use_tf32=config.tf32)
    first, second = (open_session(subject.path, provider, settings) for subject in subjects)
    return first, second


def _latency_entry(comparison: Comparison) -> Mapping[str, Any]:
    sides = {"baseline": comparison.baseline.latency, "candidate": comparison.candidate.latency}
    return {
        **{side: {"p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms} for side, latency in sides.items()},
        "speedup": sides["baseline"].p50_ms / sides["candidate"].p50_ms,
        "speedup_interval": _pair(comparison.speedup),
        "batch_size": comparison.latency_batch,
        "tokens": comparison.latency_tokens,
        "runs": sides["baseline"].runs_ms.size,
    }


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
