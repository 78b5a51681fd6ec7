"""Where calibration data comes from: a file of texts, the train split of a task, or saved inputs. Labels are never read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from squeeze_onnx.compress.held_back import FEWEST, Calibration, hold_back_samples, hold_back_texts
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE, TO_JUDGE, Amount
from squeeze_onnx.data.batches import FeedBuilder, make_batches
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.embedding_files import NOTHING_ASKED, EmbeddingOptions
from squeeze_onnx.data.general_text import GENERAL_PREFIX, general_texts
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.readers import Texts, train_texts
from squeeze_onnx.data.saved_inputs import read_saved_inputs
from squeeze_onnx.data.tables import read_texts
from squeeze_onnx.data.tokenization import TextEncoder, TokenSequence
from squeeze_onnx.data.vocabulary import encoder_of
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.runtime.sessions import Session, open_session
from squeeze_onnx.support.errors import DataError, ModelError, OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.typed_fields import check_fields

TASK_PREFIX = "glue:"
NAMED_SOURCES = (TASK_PREFIX, GENERAL_PREFIX)
"""How text that is no file begins."""


@made_by_name
@dataclass(frozen=True)
class CalibrationConfig:
    """What to calibrate on. Labels are never read.

    source: a file of texts (a sentence a line, or a table, see `squeeze_onnx.data.tables`), glue:TASK (the train split in
        ``data``), an .npz of model inputs, or general:en, general:all: sentences of this package.
    data: a folder of GLUE splits, or a hub name.
    rows: sentences or pairs that are read; None for as many as the choice of ranks needs (see
        `squeeze_onnx.compress.text_needed`), 64 to 1,024, for 2,048 for fewer dimensions of embeddings, or for up to 8,192
        where weights learn on them.
    batch_size: sequences that are run at once.
    max_tokens: tokens a sequence is cut to; None for what the files beside the model say, see `load_text_encoder`.
    tokenizer: a tokenizer.json or a folder with one, instead of that beside the model.
    seed: seed of the order in which rows are drawn.
    columns: columns of a table, as in text=question,text2=answer; None to find them by common names.
    """

    source: str
    data: str | Path | None = None
    rows: int | None = None
    batch_size: int = 16
    max_tokens: int | None = None
    tokenizer: Path | None = None
    seed: int = 0
    columns: str | None = None

    def __post_init__(self) -> None:
        check_fields(self, CalibrationConfig)
        if self.rows is not None and self.rows < 1:
            raise OptionError(f"`calibration_rows` is a positive integer; got {self.rows}")
        if self.batch_size < 1:
            raise OptionError(f"batch_size of the calibration data is a positive integer; got {self.batch_size}")
        if self.source.startswith(TASK_PREFIX):
            find_task(self.source.removeprefix(TASK_PREFIX))
            if self.data is None:
                raise OptionError(
                    f"`calibration` {self.source} needs `data`: a folder of GLUE splits, or nyu-mll/glue for the hub"
                )
        if self.source.startswith(GENERAL_PREFIX):
            general_texts(self.source.removeprefix(GENERAL_PREFIX))
        if self.columns is not None:
            Columns.parse(self.columns)
            if not self.is_table:
                raise OptionError(
                    f"`columns` names those of a table, and `calibration` {self.source} is none: leave it out"
                )

    @property
    def is_table(self) -> bool:
        """Say whether ``source`` is a file of texts."""
        named = self.source.startswith(NAMED_SOURCES) or self.source.endswith(".npz")
        return type(self) is CalibrationConfig and not named

    @property
    def reads_text(self) -> bool:
        """Say whether it is text that is read, not inputs of the model."""
        return not (is_archive(self) or isinstance(self, GivenFeeds))

    @property
    def named_columns(self) -> Columns | None:
        """What ``columns`` says; None to find them by common names."""
        return None if self.columns is None else Columns.parse(self.columns)

    def amount(self, usual: Amount = TO_CALIBRATE) -> Amount:
        """Return how much is read: ``usual`` unless ``rows`` says it."""
        return usual if self.rows is None else Amount(self.rows)


@dataclass(frozen=True)
class GivenTexts(CalibrationConfig):
    """Texts that a caller has: ``texts`` are rows of one sentence or of a pair, read like those of a file."""

    source: str = "texts"
    texts: tuple[Texts, ...] = ()
    read_as: ClassVar[str] = "texts given in Python"


@dataclass(frozen=True, eq=False)
class GivenFeeds(CalibrationConfig):
    """Inputs that a caller has: each of ``batches`` is run as it is."""

    source: str = "inputs"
    batches: tuple[CalibrationBatch, ...] = ()
    read_as: ClassVar[str] = "model inputs given in Python"

    def checked(self, session: Session) -> Calibration:
        """Return the batches, every n-th of many held back; raises DataError for one that ``session`` cannot take."""
        wanted = sorted(value.name for value in session.inputs)
        for number, batch in enumerate(self.batches):
            if sorted(batch.feeds) != wanted:
                held = ", ".join(sorted(batch.feeds)) or "nothing"
                raise DataError(f"calibration[{number}] holds {held}; the model takes {', '.join(wanted)}")
        keys = [
            b"".join(np.ascontiguousarray(batch.feeds[name]).tobytes() for name in wanted) for batch in self.batches
        ]
        apart = {*hold_back_samples(keys)}
        kept = tuple(batch for number, batch in enumerate(self.batches) if number not in apart)
        return Calibration(kept, tuple(self.batches[number] for number in sorted(apart)))


def load_calibration(
    model: OnnxModel,
    config: CalibrationConfig,
    usual: Amount = TO_CALIBRATE,
    *,
    taken: Collection[str] = (),
    asked: EmbeddingOptions = NOTHING_ASKED,
    session: Session | None = None,
) -> Calibration:
    """Read ``config.source``, ``usual`` of it unless ``config.rows`` says it, and make batches for ``model``, shortest first.

    Beside them lie the batches that are held back (see `squeeze_onnx.compress.held_back`), without the texts that are ``taken``
    by something else that judges; what weights learn on beyond `TO_CALIBRATE` has none of them either. ``session`` is one of
    ``model`` that is open. Raises DataError for a source that cannot be read, TokenizerError if it has no tokenizer for text.
    """
    if isinstance(config, GivenFeeds):
        return config.checked(session or open_session(model.path))
    if is_archive(config):
        return _saved_batches(Path(config.source), session or open_session(model.path), config.batch_size)
    amount = config.amount(usual)
    rows = _without_taken(all_rows(config), config.amount(TO_CALIBRATE).rows, taken)
    reader = _Reader.of(model, config, asked, session)
    sequences = reader.sequences(rows[: amount.rows])[: amount.rows]
    encoded = reader.encoder.encode(sequences)
    room = len(amount.within_tokens(encoded))
    calibrated, held_back = hold_back_texts(sequences[:room], reader.sequences(rows), taken)
    encoding_of = dict(zip(sequences, encoded, strict=True))
    read = [encoding_of[texts] for texts in calibrated]
    # Texts may differ in nothing but what the tokenizer leaves out.
    known = {_key(sequence) for sequence in read}
    fresh = [sequence for sequence in reader.encoder.encode(held_back) if _key(sequence) not in known]
    judged = TO_JUDGE.within_tokens(fresh)
    return Calibration(reader.batches(read), reader.batches(judged if len(judged) >= FEWEST else ()))


def calibration_rows(config: CalibrationConfig, usual: Amount = TO_CALIBRATE) -> list[Texts]:
    """Return the rows that `load_calibration` reads if there is room for their tokens, the few it may hold back among them.

    There are none of an .npz or of arrays, which do not say what their texts were.
    """
    return all_rows(config)[: config.amount(usual).rows] if config.reads_text else []


def _without_taken(rows: list[Texts], first: int, taken: Collection[str]) -> list[Texts]:
    """Return the ``first`` rows, and those after them that have no text that is ``taken``."""
    return rows[:first] + [texts for texts in rows[first:] if not any(text in taken for text in texts)]


def all_rows(config: CalibrationConfig) -> list[Texts]:
    """Return all rows of a source of text, in the order in which they are drawn; raises as `load_calibration` does."""
    if config.source.startswith(TASK_PREFIX):
        assert config.data is not None, "checked by CalibrationConfig"
        return train_texts(find_task(config.source.removeprefix(TASK_PREFIX)), config.data, None, seed=config.seed)
    given = config.texts if isinstance(config, GivenTexts) else None
    if given is None and config.source.startswith(GENERAL_PREFIX):
        given = tuple(general_texts(config.source.removeprefix(GENERAL_PREFIX)))
    texts = given or read_texts(Path(config.source), config.named_columns).texts
    return [texts[index] for index in np.random.default_rng(config.seed).permutation(len(texts))]


def is_archive(config: CalibrationConfig) -> bool:
    """Whether ``config`` reads saved inputs."""
    return config.source.endswith(".npz")


def text_batches(
    model: OnnxModel,
    rows: Sequence[Texts],
    config: CalibrationConfig,
    usual: Amount = TO_CALIBRATE,
    asked: EmbeddingOptions = NOTHING_ASKED,
) -> tuple[CalibrationBatch, ...]:
    """Tokenize ``rows`` as the head of ``model`` reads them, pairs together or each text on its own; shortest batches first.

    Of a model whose answer is of no kind that is known, pairs are read together.
    """
    reader, amount = _Reader.of(model, config, asked), config.amount(usual)
    return reader.batches(amount.within_tokens(reader.encoder.encode(reader.sequences(rows)[: amount.rows])))


@dataclass(frozen=True)
class _Reader:
    """Makes batches of rows for one model."""

    session: Session
    settings: ModelConfig
    feeder: FeedBuilder
    encoder: TextEncoder
    batch_size: int

    @classmethod
    def of(
        cls, model: OnnxModel, config: CalibrationConfig, asked: EmbeddingOptions, session: Session | None = None
    ) -> Self:
        """Open ``model``, unless ``session`` is one of it, and its tokenizer."""
        session = session or open_session(model.path)
        settings = read_settings(model.path, asked)
        feeder = FeedBuilder.for_session(session, first_position=settings.first_position)
        encoder = encoder_of(model, settings, config.tokenizer, max_tokens=config.max_tokens)
        return cls(session, settings, feeder, encoder, config.batch_size)

    def sequences(self, rows: Sequence[Texts]) -> list[Texts]:
        """Return what of ``rows`` the model reads at once, each once."""
        try:
            return list(dict.fromkeys(choose_head(self.session, self.settings, None).sequences(rows)))
        except ModelError:
            if self.settings.asked.pooling is not None:
                raise
            return list(dict.fromkeys(rows))

    def batches(self, sequences: Sequence[TokenSequence]) -> tuple[CalibrationBatch, ...]:
        """Return ``sequences`` as the graph takes them."""
        feeder, padding = self.feeder, self.encoder.padding
        batches = make_batches(
            sequences, self.batch_size, padding=padding, may_pad=feeder.takes_mask, fixed=feeder.fixed
        )
        return tuple(CalibrationBatch(self.feeder.feeds(batch), batch.mask) for batch in batches)


def _key(sequence: TokenSequence) -> bytes:
    return sequence.ids.tobytes() + sequence.type_ids.tobytes()


def _saved_batches(path: Path, session: Session, batch_size: int) -> Calibration:
    """Cut the arrays of an .npz, one a graph input with a sequence a row, into batches."""
    saved = read_saved_inputs(path, session.inputs, "`calibration`")
    apart = hold_back_samples([saved.key(row) for row in range(len(saved))])
    read = np.setdiff1d(np.arange(len(saved)), apart)
    return Calibration(saved.cut(read, batch_size), saved.cut(np.array(apart, np.int64), batch_size))
