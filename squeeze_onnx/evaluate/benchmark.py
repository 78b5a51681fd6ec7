"""Bench: which of several models is faster on this machine, and is the difference more than noise?

Each model has a process of its own, which waits while others have their turn: see `runtime.timing_process`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.speedup import Speedup
from squeeze_onnx.evaluate.timed_models import LeftOut, ModelsToTime, TimedModel, models_to_time, shared_vocabulary
from squeeze_onnx.runtime.latency import Latency, measure_turns
from squeeze_onnx.runtime.memory import measure_peak_memory
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.runtime.timing_process import TimingProcess
from squeeze_onnx.support.environment import created_now, environment
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.shown import Shown

FORMAT = "squeeze-onnx/bench/1"


@dataclass(frozen=True, repr=False)
class Benchmark(Shown):
    """What was measured: a latency for each shape and model, and of each model its runtime, and its peak memory if asked for."""

    config: BenchConfig
    models: tuple[TimedModel, ...]
    latencies: tuple[tuple[Latency, ...], ...]
    peak_memory: tuple[int | None, ...]
    runtimes: tuple[Mapping[str, Any], ...]
    left_out: tuple[LeftOut, ...] = ()

    def speedup(self, model: int, *shapes: int) -> Speedup:
        """Return the speed-up of a model against the first one over ``shapes``, all by number."""
        pairs = [(self.latencies[shape][0], self.latencies[shape][model]) for shape in shapes]
        return Speedup.over(pairs, seed=self.config.seed)

    def summary(self) -> dict[str, str]:
        """Return the geometric mean of the speed-ups of each model over the first."""
        shapes = range(len(self.latencies))
        means = {model.name: self.speedup(number, *shapes) for number, model in enumerate(self.models)}
        return {name: f"{speedup.ratio:.2f}×" for name, speedup in means.items()}

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the models of each entry are in the order of ``models``, the baseline first."""
        return {
            "format": FORMAT,
            "created": created_now(),
            "models": [self._model_to_json(number) for number in range(len(self.models))],
            "left_out": [asdict(each) for each in self.left_out],
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
            "settings": asdict(self.config)
            | {"data": None if self.config.data is None else str(self.config.data)}
            | {"optimization_level": "all", "io_binding": True, "processes": "one for each model"},
            "provider_options": self.runtimes[0].get("provider_options", {}),
            "environment": environment(),
        }

    def _model_to_json(self, number: int) -> dict[str, Any]:
        model, runtime = self.models[number], self.runtimes[number]
        return {
            "name": model.name,
            "bytes": model.size.bytes,
            "parameters": model.size.parameters,
            "peak_memory_bytes": self.peak_memory[number],
            "files": dict(model.size.sha256),
            "runtime": {name: value for name, value in runtime.items() if name != "provider_options"},
            "remark": model.remark,
            "mean": self.speedup(number, *range(len(self.latencies))).to_json(),
        }


def bench(models: Sequence[str | Path], config: BenchConfig | None = None, track: Track = silent) -> Benchmark:
    """Time ``models``, .onnx files or folders with model.onnx, in turns; the first is the baseline.

    All of them read the same random tokens, without padding, or the same rows of ``config.data``. Raises a SqueezeError subclass
    for everything that is wrong with models, data, options or machine.
    """
    config = config or BenchConfig()
    if not models:
        raise OptionError("bench takes one model or more")
    resolve_provider(config.provider)
    with models_to_time(models, config) as chosen:
        return measure(chosen, chosen.config or config, track)


def measure(chosen: ModelsToTime, config: BenchConfig, track: Track = silent) -> Benchmark:
    """Time ``chosen`` as `bench` does, whatever they are; raises what opening and running them raises."""
    options, vocabulary = config.runner_options, shared_vocabulary(chosen.models)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(TimingProcess(model.name, model.path, model.runtime, options))
            for model in chosen.models
        ]
        feeders = [
            model.feeder(process.inputs, config, vocabulary)
            for process, model in zip(processes, chosen.models, strict=True)
        ]
        latencies = []
        for shape in track(config.shapes, "Timing"):
            for process, feeds in zip(processes, feeders, strict=True):
                process.bind(feeds(shape, config.seed))
            turns = [process.turn for process in processes]
            latencies.append(measure_turns(turns, rounds=config.rounds, repeats=config.repeats, warm_up=config.warm_up))
    largest = max(config.shapes, key=lambda shape: shape[0] * (shape[1] or 1))
    peaks = [
        measure_peak_memory(model.path, options, feeds(largest, config.seed), runtime=model.runtime)
        if config.memory
        else None
        for model, feeds in zip(chosen.models, feeders, strict=True)
    ]
    return Benchmark(
        config,
        chosen.models,
        tuple(latencies),
        tuple(peaks),
        tuple(process.facts for process in processes),
        chosen.left_out,
    )
