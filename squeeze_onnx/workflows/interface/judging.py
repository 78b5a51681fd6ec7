"""Judging models from Python: scores, likeness, time."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from squeeze_onnx.evaluate import benchmark, validation
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import Benchmark
from squeeze_onnx.evaluate.metrics import known_metric
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import Validation
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.workflows.interface.given import ModelLike, config_of, model_file, track_of


def validate(
    baseline: ModelLike,
    candidate: ModelLike,
    config: ValidateConfig | Mapping[str, Any] | None = None,
    track: Track = silent,
    **settings: Any,
) -> Validation:
    """Score a candidate against a baseline: task metrics, likeness of answers, latency, size.

    baseline, candidate: models as `optimize` takes them; one of them has a tokenizer beside it, or ``config`` names one.
    config: a ValidateConfig or a dict of its settings; each may be given by its name instead (``task="sst2"``). A metric of
        own data may be a function of references and predictions, arrays (rows,), that returns a number, better if it is higher.
    track: is told how far it got.

    Raises a SqueezeError for everything that is wrong with models, tokenizer, data, options or machine.
    """
    with ExitStack() as stack:
        chosen = config_of(ValidateConfig, _metrics_named(config, stack), _metrics_named(settings, stack))
        first, second = (
            stack.enter_context(model_file(model, name))
            for model, name in ((baseline, "baseline"), (candidate, "candidate"))
        )
        return validation.validate(first, second, chosen, track_of(track))


def _metrics_named(given: Any, stack: ExitStack) -> Any:
    """Return the settings in ``given`` with names in the place of functions, which are metrics while ``stack`` is open."""
    if not isinstance(given, Mapping):
        return given

    def named(value: Any) -> Any:
        return stack.enter_context(known_metric(value)) if callable(value) else value

    settings = dict(given)
    for key in {"metric", "metrics"} & settings.keys():
        value = settings[key]
        settings[key] = tuple(map(named, value)) if isinstance(value, list | tuple) else named(value)
        if callable(value):
            settings[key] = (settings[key],)
    return settings


def bench(
    models: Sequence[ModelLike], config: BenchConfig | Mapping[str, Any] | None = None, track: Track = silent
) -> Benchmark:
    """Time ``models`` in turns; the first is the baseline.

    models: a list of models as `optimize` takes them.
    config: a BenchConfig, or a dict of its settings.

    Raises a SqueezeError for everything that is wrong with models, options or machine.
    """
    settings = config_of(BenchConfig, config)
    if not isinstance(models, list | tuple) or not models:
        raise OptionError("models is a list of one model or more")
    with ExitStack() as stack:
        paths = [stack.enter_context(model_file(each, f"models[{number}]")) for number, each in enumerate(models)]
        return benchmark.bench(paths, settings, track_of(track))
