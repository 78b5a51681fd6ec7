"""How fast the models are that `optimize` writes for trained ones, against what others make of the dense ones.

    python -m tools.bench_speed prepare --glue DIR [--model mpnet-base …]    hours: makes and scores what is to be timed
    python -m tools.bench_speed run [--model mpnet-base …]                   on a quiet machine: times it, nothing else
    python -m tools.bench_speed ways                                         on a quiet machine: two ways to time agree

``prepare`` writes to ~/.cache/squeeze-onnx/speed and leaves what is there. ``run`` keeps rows of models/NAME/results/speed.json,
``ways`` of models/minilm-l6/results/speed-ways.json; then ``python -m tools.pages`` brings the pages up to date. Every model runs
in a process of its own (`evaluate.benchmark`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import Benchmark, measure
from squeeze_onnx.evaluate.speedup import Speedup
from squeeze_onnx.evaluate.timed_models import ModelsToTime, shared_vocabulary
from squeeze_onnx.runtime.binding import bind_run
from squeeze_onnx.runtime.idle import rest_until_idle
from squeeze_onnx.runtime.latency import Latency, Run, measure_turns, timed_turn
from squeeze_onnx.runtime.sessions import SessionSettings, open_session
from squeeze_onnx.support.downloads import cache_folder
from tools.measuring import Clock, Recorder, Shared, models_option, row_options
from tools.rows import Tolerance
from tools.speed_models import EXPORT, FUSED, INT8, MODELS, OPENVINO, Entry, Place, entries, prepare, score, timed
from tools.speed_tables import WAYS_MODEL

F = TypeVar("F", bound=Callable[..., Any])

OPPONENTS = {"export": EXPORT, "fused": FUSED, "int8": INT8, "openvino": OPENVINO}
"""Name in the rows → the dense model in the form that others make of it."""

WAYS_ENTRIES = (EXPORT, INT8, "keep 0.5, int8")

_DRIFT = Tolerance(
    relative=0.1, comparable_on="same", why="10 %: a ratio of medians on a machine that may be another of its kind"
)


@click.group()
def main() -> None:
    """Prepare what is timed, and time it."""


def place_options(command: F) -> F:
    """Say where the models lie, see `places`."""
    options = (
        click.option("--model", "names", multiple=True, type=click.Choice(list(MODELS)), help="Only these models."),
        models_option,
        click.option("--folder", type=click.Path(path_type=Path), default=cache_folder() / "speed", show_default=True),
        click.option(
            "--glue",
            type=click.Path(path_type=Path, exists=True),
            envvar="SQUEEZE_GLUE",
            help="Folder of GLUE splits, to make what is missing [default: SQUEEZE_GLUE].",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def places(*, names: Sequence[str], models: Path, folder: Path, glue: Path | None) -> list[Place]:
    """Return where everything lies, for each model that is asked for."""
    return [Place(name, models / name / "onnx", folder, glue) for name in names or MODELS]


@main.command("prepare")
@place_options
@click.option("--only", default="", help="Only entries whose label contains this.")
def prepare_all(*, only: str, **options: Any) -> None:
    """Make and score everything that `run` times."""
    for place in places(**options):
        for entry in entries():
            if only in entry.label:
                click.echo(f"{place.name}: {entry.label}: {prepare(place, entry)['seconds']:.0f} s")
        for entry in entries():
            if only in entry.label and (found := score(place, entry)) is not None:
                click.echo(f"{place.name}: {entry.label}: {found['metric']} {found['score']:.4f}")


@main.command()
@place_options
@row_options
@click.option("--rounds", default=12, show_default=True)
def run(*, rounds: int, recorder: Recorder, **options: Any) -> None:
    """Time everything that was prepared, and keep the rows; of single rows only what they are held against with them."""
    config = BenchConfig(rounds=rounds, threads=recorder.threads, warm_up=2)
    asked = ("--rounds", str(rounds), *(() if recorder.threads is None else ("--threads", str(recorder.threads))))
    for place in places(**options):
        wanted = [entry.label for entry in entries() if recorder.wants(entry.label)]
        chosen = [entry for entry in entries() if entry.label in {*wanted, *OPPONENTS.values()}]
        made = {entry.label: prepare(place, entry) for entry in chosen}
        good = {entry.label: score(place, entry) for entry in chosen}
        clock = Clock()
        found = measure(ModelsToTime(tuple(timed(place, entry) for entry in chosen)), config)
        together = Shared(f"the rounds of {place.name}", clock.lap())
        for label in wanted:
            values = {**speeds(found, label), **quality(good[label]), "task": place.about.task, "made": made[label]}
            command = ("tools.bench_speed", "run", "--model", place.name, *asked)
            allowed = {f"against.{name}.speedup": _DRIFT for name in OPPONENTS}
            recorder.keep(
                f"{place.name}/speed", label, command, values, allowed, seconds=0.0, shared=together, speed=True
            )


def speeds(found: Benchmark, label: str) -> dict[str, Any]:
    """Return what was measured of the model ``label``: its times by shape, and speed-ups over each opponent."""
    labels = [model.name for model in found.models]
    number = labels.index(label)
    model = found.models[number]
    against = {
        name: Speedup.over(
            [(shape[labels.index(opponent)], shape[number]) for shape in found.latencies], seed=found.config.seed
        ).to_json()
        for name, opponent in OPPONENTS.items()
    }
    return {
        "p50_ms": by_shape(found.config, [shape[number].p50_ms for shape in found.latencies]),
        "p95_ms": by_shape(found.config, [shape[number].p95_ms for shape in found.latencies]),
        "against": against,
        "bytes": model.size.bytes,
        "peak_memory_bytes": found.peak_memory[number],
        "runtime": {key: value for key, value in found.runtimes[number].items() if key != "provider_options"},
        "remark": model.remark,
        "rounds": found.config.rounds,
    }


def quality(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the score of a model, each None if there is none."""
    return {key: None if found is None else found[key] for key in ("metric", "score", "drop_points", "drop_interval")}


def by_shape(config: BenchConfig, values: Sequence[float]) -> dict[str, float]:
    """Return ``values`` by the shape that they are of, ``batch × length``."""
    return {f"{batch} × {length}": value for (batch, length), value in zip(config.shapes, values, strict=True)}


@main.command()
@place_options
@row_options
@click.option("--rounds", default=12, show_default=True)
def ways(*, rounds: int, recorder: Recorder, **options: Any) -> None:
    """Time three models of one small encoder in three ways, and keep a row for each."""
    [place] = places(**options | {"names": [WAYS_MODEL]})
    chosen = [entry for entry in entries() if entry.label in WAYS_ENTRIES]
    for entry in chosen:
        prepare(place, entry)
    config = BenchConfig(rounds=rounds, threads=recorder.threads, warm_up=2, memory=False)
    clock = Clock()
    measured = in_all_ways(place, chosen, config)
    together = Shared("the rounds of all ways", clock.lap())
    for number, entry in enumerate(chosen):
        if recorder.wants(entry.label):
            values = {
                way: by_shape(config, [shape[number].p50_ms for shape in found]) for way, found in measured.items()
            }
            command = ("tools.bench_speed", "ways", "--rounds", str(rounds))
            recorder.keep(
                f"{WAYS_MODEL}/speed-ways", entry.label, command, values, {}, seconds=0.0, shared=together, speed=True
            )


def in_all_ways(place: Place, chosen: Sequence[Entry], config: BenchConfig) -> dict[str, Sequence[tuple[Latency, ...]]]:
    """Return the latencies by shape and entry: in a process each, and as sessions of this process with and without rest."""
    to_time = ModelsToTime(tuple(timed(place, entry) for entry in chosen))
    return {
        "processes": measure(to_time, config).latencies,
        "stopped": _in_this_process(to_time, config, stop_spinning=True, rest=rest_until_idle),
        "spinning": _in_this_process(to_time, config, stop_spinning=False, rest=lambda: None),
    }


def _in_this_process(
    to_time: ModelsToTime, config: BenchConfig, *, stop_spinning: bool, rest: Callable[[], None]
) -> list[tuple[Latency, ...]]:
    """Time sessions of this process in turns, with a ``rest`` after each turn."""
    sessions = [
        open_session(model.path, settings=SessionSettings(threads=config.threads, stop_spinning=stop_spinning))
        for model in to_time.models
    ]

    def turn(run: Run, repeats: int) -> list[float]:
        times = timed_turn(run, repeats)
        rest()
        return times

    vocabulary = shared_vocabulary(to_time.models)
    feeders = [
        model.feeder(session.inputs, config, vocabulary)
        for session, model in zip(sessions, to_time.models, strict=True)
    ]
    found = []
    for shape in config.shapes:
        turns = [
            partial(turn, bind_run(session, feeds(shape, config.seed)))
            for session, feeds in zip(sessions, feeders, strict=True)
        ]
        found.append(measure_turns(turns, rounds=config.rounds, repeats=config.repeats, warm_up=config.warm_up))
    return found


if __name__ == "__main__":
    main()
