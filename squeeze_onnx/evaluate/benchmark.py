"""Bench: which of several models is faster on this machine, and is the difference more than noise?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from squeeze_onnx.data.batches import Batch, FeedBuilder
from squeeze_onnx.data.model_config import ModelConfig, read_model_config
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.evaluate.bootstrap import Interval, mean_speedup_interval
from squeeze_onnx.graph.io.model import load_model, locate_model
from squeeze_onnx.graph.io.size import ModelSize, measure_size
from squeeze_onnx.runtime.binding import bind_run
from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.memory import measure_peak_memory
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.rivals import RIVALS, build_rival
from squeeze_onnx.runtime.sessions import Feeds, Session, open_session
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track, silent

FORMAT = "squeeze-onnx/bench/1"
DEFAULT_SHAPES = ((1, 32), (1, 128), (8, 128))

Verdict = Literal["faster", "slower", "no difference within noise"]


@dataclass(frozen=True)
class BenchConfig:
    """What is measured and how.

    Without ``batch_sizes`` and ``sequence_lengths`` the shapes are DEFAULT_SHAPES; else every batch size with every length,
    1 and 128 standing in for what is not given. ``against`` names opponents that are built from the first model:
    ``int8``, ``fused``. ``threads`` and ``tf32`` are onnxruntime's (None: its choice).
    """

    provider: str = "cpu"
    batch_sizes: tuple[int, ...] = ()
    sequence_lengths: tuple[int, ...] = ()
    against: tuple[str, ...] = ()
    threads: int | None = None
    tf32: bool = True
    cuda_graph: bool = False
    memory: bool = True
    rounds: int = 20
    repeats: int = 3
    warm_up: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        positive = {"batch-size": self.batch_sizes, "sequence-length": self.sequence_lengths, "rounds": (self.rounds,)}
        for option, values in positive.items():
            if any(value < 1 for value in values):
                raise OptionError(f"--{option} is a positive integer; got {min(values)}")
        for kind in self.against:
            if kind not in RIVALS:
                raise OptionError(f"--against is one of {', '.join(RIVALS)}; got {kind!r}")
        if self.cuda_graph and self.provider != "cuda":
            raise OptionError("--cuda-graph needs --provider cuda")

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The shapes of the inputs, (batch size, sequence length)."""
        if not self.batch_sizes and not self.sequence_lengths:
            return DEFAULT_SHAPES
        return tuple(product(self.batch_sizes or (1,), self.sequence_lengths or (128,)))


@dataclass(frozen=True)
class Contestant:
    """A model under test, and how many tokens it embeds."""

    name: str
    path: Path
    config: ModelConfig
    size: ModelSize
    vocabulary: int


@dataclass(frozen=True)
class Speedup:
    """How many times as fast as the baseline, over one shape or the geometric mean over several, with its 95 % interval."""

    ratio: float
    interval: Interval

    @classmethod
    def over(cls, pairs: Sequence[tuple[Latency, Latency]], *, seed: int) -> "Speedup":
        """Return the speed-up of (baseline, candidate) measured on one or more shapes."""
        logarithms = [np.log(baseline.p50_ms / candidate.p50_ms) for baseline, candidate in pairs]
        runs = [(baseline.runs_ms, candidate.runs_ms) for baseline, candidate in pairs]
        return cls(float(np.exp(np.mean(logarithms))), mean_speedup_interval(runs, seed=seed))

    @property
    def verdict(self) -> Verdict:
        """Name a winner only if the interval leaves out 1."""
        if self.interval.low > 1:
            return "faster"
        return "slower" if self.interval.high < 1 else "no difference within noise"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "speedup": self.ratio,
            "speedup_interval": [self.interval.low, self.interval.high],
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Benchmark:
    """What was measured: a latency for each shape and contestant, and the peak memory of each contestant if asked for."""

    config: BenchConfig
    contestants: tuple[Contestant, ...]
    latencies: tuple[tuple[Latency, ...], ...]
    peak_memory: tuple[int | None, ...]
    provider_options: Mapping[str, Any]

    def speedup(self, contestant: int, *shapes: int) -> Speedup:
        """Return the speed-up of a contestant against the first one over ``shapes``, all by number."""
        pairs = [(self.latencies[shape][0], self.latencies[shape][contestant]) for shape in shapes]
        return Speedup.over(pairs, seed=self.config.seed)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the models of each entry are in the order of ``models``, the baseline first."""
        everything = range(len(self.latencies))
        return {
            "format": FORMAT,
            "models": [
                {
                    "name": model.name,
                    "bytes": model.size.bytes,
                    "parameters": model.size.parameters,
                    "peak_memory_bytes": peak,
                    "files": dict(model.size.sha256),
                    "mean": self.speedup(number, *everything).to_json(),
                }
                for number, (model, peak) in enumerate(zip(self.contestants, self.peak_memory, strict=True))
            ],
            "shapes": [
                {
                    "batch_size": batch_size,
                    "sequence_length": length,
                    "models": [
                        {"p50_ms": latency.p50_ms, "p95_ms": latency.p95_ms} | self.speedup(number, shape).to_json()
                        for number, latency in enumerate(self.latencies[shape])
                    ],
                }
                for shape, (batch_size, length) in enumerate(self.config.shapes)
            ],
            "settings": asdict(self.config) | {"optimization_level": "all", "io_binding": True},
            "provider_options": dict(self.provider_options),
            "environment": environment(),
        }


def bench(models: Sequence[str | Path], config: BenchConfig | None = None, track: Track = silent) -> Benchmark:
    """Time ``models``, .onnx files or folders with model.onnx, in turns; the first is the baseline.

    All of them read the same random tokens, without padding. Raises a SqueezeError subclass for everything that is wrong
    with models, options or machine.
    """
    config = config or BenchConfig()
    if not models:
        raise OptionError("bench takes one model or more")
    resolve_provider(config.provider)
    with _contestants(models, config) as contestants:
        sessions = [
            open_session(
                model.path,
                config.provider,
                threads=config.threads,
                use_tf32=config.tf32,
                cuda_graph=config.cuda_graph,
            )
            for model in contestants
        ]
        feed_builders = [
            FeedBuilder.for_session(session, first_position=model.config.first_position)
            for session, model in zip(sessions, contestants, strict=True)
        ]
        batches = [_batch(shape, contestants, seed=config.seed) for shape in config.shapes]
        latencies = []
        for number, batch in enumerate(track(batches, "Timing")):
            runs = [
                _bound(session, builder.feeds(batch), config, number)
                for session, builder in zip(sessions, feed_builders, strict=True)
            ]
            latencies.append(
                measure_latency(runs, rounds=config.rounds, repeats=config.repeats, warm_up=config.warm_up)
            )
        largest = max(batches, key=lambda batch: batch.ids.size)
        peaks = [
            measure_peak_memory(model.path, config.provider, builder.feeds(largest), threads=config.threads)
            if config.memory
            else None
            for model, builder in zip(contestants, feed_builders, strict=True)
        ]
        options = sessions[0].ort.get_provider_options()
        return Benchmark(config, contestants, tuple(latencies), tuple(peaks), options)


@contextmanager
def _contestants(models: Sequence[str | Path], config: BenchConfig) -> Iterator[tuple[Contestant, ...]]:
    """Yield the models to time, then the opponents built from the first one, which are gone afterwards."""
    paths = {str(model): locate_model(model) for model in models}
    given = [_contestant(str(model), paths[str(model)], config) for model in models]
    with TemporaryDirectory(prefix="squeeze-onnx-") as folder:
        baseline = given[0]
        for kind in config.against:
            path = build_rival(kind, baseline.path, Path(folder))
            size = measure_size(load_model(path))
            given.append(Contestant(f"{baseline.name}, {kind}", path, baseline.config, size, baseline.vocabulary))
        yield tuple(given)


def _contestant(name: str, path: Path, config: BenchConfig) -> Contestant:
    model, settings = load_model(path), read_model_config(path.parent)
    vocabulary = embedding_rows(model.ir) or settings.vocabulary_size
    if vocabulary is None:
        raise ModelError(
            f"{path} does not say how many tokens it knows: no table is looked up with input_ids, and config.json has no "
            "vocab_size"
        )
    longest = max(length for _, length in config.shapes)
    if settings.max_tokens is not None and longest > settings.max_tokens:
        raise OptionError(f"--sequence-length {longest} is more than the {settings.max_tokens} positions of {path}")
    return Contestant(name, path, settings, measure_size(model), vocabulary)


def _batch(shape: tuple[int, int], contestants: Sequence[Contestant], *, seed: int) -> Batch:
    """Return random tokens that every contestant knows."""
    vocabulary = min(model.vocabulary for model in contestants)
    ids = np.random.default_rng(seed).integers(vocabulary, size=shape, dtype=np.int64)
    return Batch(np.arange(shape[0]), ids, np.zeros(shape, np.int64), np.ones(shape, np.int64))


def _bound(session: Session, feeds: Feeds, config: BenchConfig, number: int) -> Callable[[], None]:
    return bind_run(session, feeds, graph_id=number + 1 if config.cuda_graph else None)
