"""The models that `bench` times: those that are given, and the opponents that are built from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from squeeze_onnx.data.batches import FeedBuilder
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.saved_inputs import declared_batch
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.evaluate.bench_config import DEFAULT_ROWS, BenchConfig
from squeeze_onnx.evaluate.timed_inputs import Feeder, random_tokens, saved_rows
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.io.size import ModelSize, digest_files, measure_size
from squeeze_onnx.graph.quantized.dequantizing import is_quantized
from squeeze_onnx.runtime.rivals import RIVALS, build_rival, check_rivals
from squeeze_onnx.runtime.sessions import Feeds, ValueSpec
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.given_names import in_words

_BATCHES_TO_CONVERT = 16
"""Only the time of what is converted from them is measured, which does not depend on the ranges found."""


@dataclass(frozen=True)
class TimedModel:
    """A model under test, how many tokens it embeds (None: it does not say), its runtime, and what else is to be known of it."""

    name: str
    path: Path
    config: ModelConfig
    size: ModelSize
    vocabulary: int | None
    runtime: str = "onnxruntime"
    remark: str | None = None

    def feeder(self, inputs: Sequence[ValueSpec], config: BenchConfig, vocabulary: int | None) -> Feeder:
        """Return what feeds this model, which has these ``inputs``: random tokens of a ``vocabulary``, or ``config.data``.

        Raises ModelError if tokens are not enough for it, or are not known; DataError if the data is not for it.
        """
        if config.data is not None:
            return saved_rows(config.data, inputs)
        builder = FeedBuilder.for_inputs(self.name, inputs, first_position=self.config.first_position)
        if vocabulary is None:
            raise ModelError(
                f"{self.name} does not say how many tokens it knows: no table is looked up with input_ids, and config.json has "
                "no vocab_size; give `data` an .npz of its inputs"
            )
        return random_tokens(builder, vocabulary)


def shared_vocabulary(models: Sequence[TimedModel]) -> int | None:
    """Return how many tokens all of ``models`` know, None if one of them does not say."""
    sizes = [model.vocabulary for model in models]
    return None if None in sizes else min(size for size in sizes if size is not None)


@dataclass(frozen=True)
class LeftOut:
    """A model that an opponent's tool does not take."""

    name: str
    against: str
    reason: str


@dataclass(frozen=True)
class ModelsToTime:
    """All that is timed, the baseline first, and what is not; ``config`` has the shapes that they take."""

    models: tuple[TimedModel, ...]
    left_out: tuple[LeftOut, ...] = ()
    config: BenchConfig | None = None


@dataclass(frozen=True)
class _GivenModel:
    """A model that was given: as it is timed, what opponents' tools read, and whether its weights are integers already."""

    timed: TimedModel
    inputs: tuple[ValueSpec, ...]
    quantized: bool

    def fixed(self, config: BenchConfig) -> FixedShape:
        """Return the shape that it was exported for; the length of saved inputs is their own."""
        if config.data is not None:
            return FixedShape(declared_batch(self.inputs))
        return FixedShape.of((value.name, value.shape) for value in self.inputs)


@contextmanager
def models_to_time(models: Sequence[str | Path], config: BenchConfig) -> Iterator[ModelsToTime]:
    """Yield the ``models``, then the opponents built from them, which are gone afterwards.

    Raises a SqueezeError subclass for a model that cannot be timed, or an opponent that cannot be built.
    """
    check_rivals(config.against, config.provider)
    paths = {str(model): find_repository(model).model_path for model in models}
    given = [_read(in_words(str(model)), paths[str(model)]) for model in models]
    for each in given:
        config = config.at(each.timed.name, each.fixed(config))
    config = _within_positions(given, config)
    timed, left_out = [each.timed for each in given], []
    with TemporaryDirectory(prefix="squeeze-onnx-") as folder:
        for kind in config.against:
            rival = RIVALS[kind]
            asked = given if rival.of_every_model else given[:1]
            taken = [each for each in asked if not (rival.of_every_model and each.quantized)]
            if not taken:
                raise OptionError(
                    f"`against` {kind} converts models in float, and {asked[0].timed.name} is quantized already"
                )
            left_out += [
                LeftOut(each.timed.name, kind, "its weights are quantized already")
                for each in asked
                if each not in taken
            ]
            for number, each in enumerate(taken):
                place = Path(folder) / f"{kind}-{number}"
                place.mkdir()
                timed.append(_rival_of(each, kind, place, config))
        yield ModelsToTime(tuple(timed), tuple(left_out), config)


def _read(name: str, path: Path) -> _GivenModel:
    model, settings = load_model(path), read_settings(path)
    vocabulary = embedding_rows(model.ir) or settings.vocabulary_size
    timed = TimedModel(name, path, settings, measure_size(model), vocabulary)
    return _GivenModel(timed, _inputs(model), is_quantized(model.ir))


def _within_positions(given: Sequence[_GivenModel], config: BenchConfig) -> BenchConfig:
    """Return ``config`` at lengths that all models take; raises OptionError for one that was asked for and is too long."""
    limits = {each.timed.config.max_tokens: each for each in given if each.timed.config.max_tokens is not None}
    longest = max(length or 0 for _, length in config.shapes)
    if not limits or longest <= min(limits):
        return config
    if config.sequence_lengths:
        raise OptionError(
            f"`sequence_length` {longest} is more than the {min(limits)} positions of {limits[min(limits)].timed.path}"
        )
    return replace(config, batch_sizes=config.batch_sizes or DEFAULT_ROWS, sequence_lengths=(min(limits),))


def _inputs(model: OnnxModel) -> tuple[ValueSpec, ...]:
    """Return what a caller passes to the graph, as onnxruntime would declare it."""
    return tuple(
        ValueSpec(
            str(value.name),
            f"tensor({'' if value.dtype is None else value.dtype.name.lower()})",
            tuple(size if isinstance(size, int) else None for size in value.shape or ()),
        )
        for value in model.ir.graph.inputs
        if value.name not in model.ir.graph.initializers
    )


def _rival_of(given: _GivenModel, kind: str, folder: Path, config: BenchConfig) -> TimedModel:
    timed = given.timed
    files = build_rival(kind, timed.path, folder, _feeds(given, config) if RIVALS[kind].reads_feeds else ())
    return replace(
        timed,
        name=f"{timed.name}, {kind}",
        path=files[0],
        size=_size(files, timed),
        runtime=RIVALS[kind].runtime,
        remark=RIVALS[kind].remark(),
    )


def _feeds(given: _GivenModel, config: BenchConfig) -> list[Feeds]:
    """Return batches for an opponent's tool to convert by, of the greatest length that is timed."""
    feeds = given.timed.feeder(given.inputs, config, given.timed.vocabulary)
    length = max((length for _, length in config.shapes if length is not None), default=None)
    return [
        feeds((given.fixed(config).batch or 1, length), config.seed + number) for number in range(_BATCHES_TO_CONVERT)
    ]


def _size(files: tuple[Path, ...], source: TimedModel) -> ModelSize:
    """Measure the files of an opponent; in a format that is not ONNX it is taken to have as many parameters as its source."""
    if files[0].suffix == ".onnx":
        return measure_size(load_model(files[0]))
    return ModelSize(sum(file.stat().st_size for file in files), source.size.parameters, digest_files(files))
