"""Validate: is the candidate still as good as the baseline, and is it smaller and faster?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.readers import own_sentences, read_sentences, read_validation
from squeeze_onnx.data.repository import Repository, find_repository, repository_of
from squeeze_onnx.data.tokenization import TextEncoder, load_text_encoder
from squeeze_onnx.data.tokenizer_files import has_tokenizer, tokenizer_place
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.evaluate.bootstrap import Interval
from squeeze_onnx.evaluate.evaluation import Comparison, Questions, Subject, compare
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.evaluate.robustness import Robustness, measure_robustness
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.shown import Shown
from squeeze_onnx.support.typed_fields import check_fields

FORMAT = "squeeze-onnx/validation/1"


@made_by_name
@dataclass(frozen=True)
class ValidateConfig:
    """What is asked and how.

    ``data`` is a folder of GLUE splits or a hub name for ``task``; without a task it is a text file with a sentence a
    line, or None for the sentences of this package. ``max_drop`` is the gate, in points of the task's primary metric.
    ``tokenizer`` overrides the tokenizer.json beside the models, ``prompt`` what stands before every text; ``pooling`` says how
    token embeddings become one where no file beside the models does. ``max_tokens`` is what a sequence is cut to (None: what the
    files say). ``threads`` and ``tf32`` are onnxruntime's (None: its choice). ``limit`` asks only the first rows of each split,
    for a quick look. ``robustness`` looks beyond the clean metric too (`squeeze_onnx.evaluate.robustness`).
    """

    task: str | None = None
    data: str | Path | None = None
    providers: tuple[str, ...] = ("cpu",)
    max_drop: float | None = None
    batch_size: int = 32
    max_tokens: int | None = None
    tokenizer: Path | None = None
    pooling: str | None = None
    prompt: str | None = None
    threads: int | None = None
    tf32: bool = True
    seed: int = 0
    limit: int | None = None
    latency_rounds: int = 20
    robustness: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.task is not None:
            find_task(self.task)
            if self.data is None:
                raise OptionError(
                    f"--task {self.task} needs --data: a folder of GLUE splits, or nyu-mll/glue for the hub"
                )
        elif self.max_drop is not None:
            raise OptionError("--max-drop is in points of a task's metric; name the task with --task")
        # The comparison is turned so that NaN is refused too.
        if self.max_drop is not None and not self.max_drop >= 0:
            raise OptionError(f"--max-drop is a number of points, 0 or more; got {self.max_drop}")
        EmbeddingOptions(self.pooling, self.prompt)
        if not self.providers or len(set(self.providers)) < len(self.providers):
            raise OptionError(f"--provider names each provider once; got {', '.join(self.providers) or 'none'}")
        positive = {"batch-size": self.batch_size, "max-length": self.max_tokens, "limit": self.limit}
        for option, value in positive.items():
            if value is not None and value < 1:
                raise OptionError(f"--{option} is a positive integer; got {value}")


@dataclass(frozen=True, repr=False)
class Validation(Shown):
    """A candidate held against a baseline on every provider asked for; ``robustness`` by provider, empty if not asked for."""

    config: ValidateConfig
    baseline: Subject
    candidate: Subject
    questions: Questions
    encoder: TextEncoder
    comparisons: tuple[Comparison, ...]
    robustness: Mapping[str, Robustness]

    @property
    def passed(self) -> bool:
        """Say whether the primary metric drops by at most ``max_drop`` on every provider; True without a gate."""
        return all(self._passes(comparison) for comparison in self.comparisons)

    def summary(self) -> dict[str, str]:
        """Return the score of both, or how alike they answer, and whether the gate passes."""
        first, task = self.comparisons[0], self.questions.task
        told = {"cosine": f"{first.fidelity.cosine_similarity:.4f}"}
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
            "baseline": str(self.baseline.path),
            "candidate": str(self.candidate.path),
            "task": None if task is None else task.name,
            "primary_metric": None if task is None else task.primary_metric,
            "head": first.baseline.head,
            "embedding": {"baseline": first.baseline.embedding, "candidate": first.candidate.embedding},
            "data": {
                "source": None if self.config.data is None else str(self.config.data),
                "rows": {rows.split.name: len(rows.texts) for rows in self.questions.splits}
                or {"sentences": len(self.questions.texts)},
                "partial": self.config.limit is not None,
                "tokenizer": str(self.encoder.path),
                "max_tokens": self.encoder.max_tokens,
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

    def _passes(self, comparison: Comparison) -> bool:
        if self.config.max_drop is None or self.questions.task is None:
            return True
        return comparison.drop_points(self.questions.task.primary_metric) <= self.config.max_drop

    def _provider_entry(self, comparison: Comparison) -> dict[str, Any]:
        primary = None if self.questions.task is None else self.questions.task.primary_metric
        robustness = self.robustness.get(comparison.provider)
        return {
            "metrics": {
                name: {
                    "baseline": comparison.baseline.metrics[name],
                    "candidate": comparison.candidate.metrics[name],
                    "drop_points": comparison.drop_points(name),
                    "drop_interval": _pair(interval),
                }
                for name, interval in comparison.drops.items()
            },
            "drop_points": None if primary is None else comparison.drop_points(primary),
            "drop_interval": None if primary is None else _pair(comparison.drops[primary]),
            **asdict(comparison.fidelity),
            "robustness": None if robustness is None else robustness.to_json(),
            "passed": self._passes(comparison),
        }


def validate(
    baseline: str | Path, candidate: str | Path, config: ValidateConfig | None = None, track: Track = silent
) -> Validation:
    """Score ``candidate`` against ``baseline``, each an .onnx file or a folder with model.onnx.

    Both read the same tokens: those of ``config.tokenizer``, else of the tokenizer in the baseline's repository, else in the
    candidate's. A model without config.json is taken to have the other's, and so is one whose files say nothing of embeddings.

    Raises a SqueezeError subclass for everything that is wrong with models, tokenizer, data, options or machine.
    """
    config = config or ValidateConfig()
    for provider in config.providers:
        resolve_provider(provider)
    questions = _questions(config)
    subjects = _subjects(find_repository(baseline), find_repository(candidate), config)
    encoder = _encoder(subjects, config)
    comparisons = []
    robustness = {}
    for provider in config.providers:
        first, second = (
            open_session(subject.path, provider, threads=config.threads, use_tf32=config.tf32) for subject in subjects
        )
        comparisons.append(
            compare(
                subjects,
                (first, second),
                questions,
                encoder,
                batch_size=config.batch_size,
                seed=config.seed,
                latency_rounds=config.latency_rounds,
                track=track,
            )
        )
        if config.robustness:
            robustness[provider] = measure_robustness(
                (
                    OpenModel.of("baseline", first, subjects[0].config, questions.task),
                    OpenModel.of("candidate", second, subjects[1].config, questions.task),
                ),
                questions,
                encoder,
                batch_size=config.batch_size,
                seed=config.seed,
                track=track,
            )
    return Validation(config, *subjects, questions, encoder, tuple(comparisons), robustness)


def _questions(config: ValidateConfig) -> Questions:
    """Read what the models are asked."""
    if config.task is not None and config.data is not None:
        task = find_task(config.task)
        splits = read_validation(task, config.data)
        if config.limit is not None:
            splits = tuple(rows.first(config.limit) for rows in splits)
        return Questions(tuple(texts for rows in splits for texts in rows.texts), task, splits)
    if config.data is not None and Path(config.data).is_dir():
        raise OptionError(f"--data {config.data} is a folder; say with --task which task's splits to read from it")
    sentences = own_sentences() if config.data is None else read_sentences(Path(config.data))
    return Questions(tuple((sentence,) for sentence in sentences[: config.limit]))


def _subjects(baseline: Repository, candidate: Repository, config: ValidateConfig) -> tuple[Subject, Subject]:
    asked = EmbeddingOptions(config.pooling, config.prompt)
    repositories = (baseline, candidate)
    settings = [read_settings(repository.model_path, asked) for repository in repositories]
    known = next((found for found in settings if found.path is not None), settings[0])
    telling = next((found for found in settings if found.tells_of_embeddings), settings[0])

    def subject(repository: Repository, own: ModelConfig) -> Subject:
        model = load_model(repository.model_path)
        found = known if own.path is None else own
        if not own.tells_of_embeddings:
            found = replace(found, repository=telling.repository, text_limits=telling.text_limits)
        rows = embedding_rows(model.ir) or found.vocabulary_size
        return Subject(model.path, found, measure_size(model), rows, FixedShape.of_graph(model.ir))

    return subject(baseline, settings[0]), subject(candidate, settings[1])


def _encoder(subjects: tuple[Subject, Subject], config: ValidateConfig) -> TextEncoder:
    places = [tokenizer_place(repository_of(subject.path)) for subject in subjects]
    source = config.tokenizer or next(filter(has_tokenizer, places), places[0])
    settings = subjects[0].config
    for subject in subjects:
        settings = settings.for_shape(subject.fixed)
    encoder = load_text_encoder(source, settings, max_tokens=config.max_tokens)
    for subject in subjects:
        if subject.vocabulary is not None:
            encoder.check_vocabulary(subject.vocabulary, subject.path)
    return encoder


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
