"""Where calibration data comes from: a text file, the train split of a task, or saved inputs. Labels are never read."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile

from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.errors import DataError, OptionError
from squeeze_onnx.graph.model import OnnxModel
from squeeze_onnx.runtime.sessions import Session, open_session
from squeeze_onnx.tasks.batches import FeedBuilder, make_batches
from squeeze_onnx.tasks.glue import find_task
from squeeze_onnx.tasks.head_choice import choose_head
from squeeze_onnx.tasks.model_config import read_model_config
from squeeze_onnx.tasks.readers import Texts, read_sentences, train_texts
from squeeze_onnx.tasks.tokenization import DEFAULT_MAX_TOKENS
from squeeze_onnx.tasks.vocabulary import encoder_of

TASK_PREFIX = "glue:"
MASK = "attention_mask"

ROWS = 1024
"""How many sentences or pairs are read unless it is said."""

ROWS_TO_IMITATE = 4096
"""How many with distillation, which gains more from more text than from more steps (docs/methods/steps.md)."""


@dataclass(frozen=True)
class CalibrationConfig:
    """What to calibrate on.

    ``source`` is a text file with a sentence a line, ``glue:TASK`` (the train split in ``data``) or an .npz of model inputs;
    ``rows`` is how many sentences or pairs are drawn from it: None for `ROWS`, or `ROWS_TO_IMITATE` if distillation follows.
    """

    source: str
    data: str | Path | None = None
    rows: int | None = None
    batch_size: int = 16
    max_tokens: int = DEFAULT_MAX_TOKENS
    tokenizer: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for option, value in (("calibration-rows", self.row_count), ("batch-size", self.batch_size)):
            if value < 1:
                raise OptionError(f"--{option} is a positive integer; got {value}")
        if self.source.startswith(TASK_PREFIX):
            find_task(self.source.removeprefix(TASK_PREFIX))
            if self.data is None:
                raise OptionError(
                    f"--calibration {self.source} needs --data: a folder of GLUE splits, or nyu-mll/glue for the hub"
                )

    @property
    def row_count(self) -> int:
        """How many sentences or pairs are drawn at most."""
        return ROWS if self.rows is None else self.rows

    def to_imitate(self) -> Self:
        """Return what is read if the squeezed model is to imitate the dense one on it."""
        return replace(self, rows=ROWS_TO_IMITATE) if self.rows is None else self


def load_calibration(model: OnnxModel, config: CalibrationConfig) -> tuple[CalibrationBatch, ...]:
    """Read ``config.source`` and make batches of inputs for ``model``, shortest first.

    Raises DataError for a source that cannot be read, TokenizerError if ``model`` has no tokenizer for text.
    """
    if _is_archive(config):
        return _saved_batches(Path(config.source), open_session(model.path), config.batch_size)
    return text_batches(model, calibration_rows(config), config)


def calibration_rows(config: CalibrationConfig) -> list[Texts]:
    """Return the rows that `load_calibration` reads; none of an .npz, which does not say what its texts were."""
    if _is_archive(config):
        return []
    if config.source.startswith(TASK_PREFIX):
        assert config.data is not None, "checked by CalibrationConfig"
        task = find_task(config.source.removeprefix(TASK_PREFIX))
        return train_texts(task, config.data, config.row_count, seed=config.seed)
    sentences = read_sentences(Path(config.source))
    drawn = np.random.default_rng(config.seed).permutation(len(sentences))[: config.row_count]
    return [(sentences[index],) for index in drawn]


def _is_archive(config: CalibrationConfig) -> bool:
    return config.source.endswith(".npz")


def text_batches(model: OnnxModel, rows: Sequence[Texts], config: CalibrationConfig) -> tuple[CalibrationBatch, ...]:
    """Tokenize ``rows`` as the head of ``model`` reads them, pairs together or each text on its own; shortest batches first."""
    session = open_session(model.path)
    settings = read_model_config(model.folder)
    feeder = FeedBuilder.for_session(session, first_position=settings.first_position)
    encoder = encoder_of(model, settings, config.tokenizer, max_tokens=config.max_tokens)
    texts = list(dict.fromkeys(choose_head(session, settings, None).sequences(rows)))[: config.row_count]
    batches = make_batches(encoder.encode(texts), config.batch_size, pad_id=encoder.pad_id, may_pad=feeder.takes_mask)
    return tuple(CalibrationBatch(feeder.feeds(batch), batch.mask) for batch in batches)


def _saved_batches(path: Path, session: Session, batch_size: int) -> tuple[CalibrationBatch, ...]:
    """Cut the arrays of an .npz, one a graph input with a sequence a row, into batches."""
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DataError(
            f"--calibration {path} is not an .npz of arrays ({error}); save one with numpy.savez"
        ) from error
    wanted = [value.name for value in session.inputs]
    if sorted(arrays) != sorted(wanted):
        raise DataError(
            f"--calibration {path} holds {', '.join(sorted(arrays)) or 'nothing'}; the model takes {', '.join(wanted)}"
        )
    lengths = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(lengths) < len(arrays) or len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise DataError(
            f"--calibration {path}: every array needs the same number of rows, one a sequence; got {lengths}"
        )
    return tuple(
        CalibrationBatch(
            {name: array[start : start + batch_size] for name, array in arrays.items()},
            arrays[MASK][start : start + batch_size] if MASK in arrays else None,
        )
        for start in range(0, next(iter(lengths.values())), batch_size)
    )
