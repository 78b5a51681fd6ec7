"""GLUE splits from a folder or the hub: rows with labels for scoring, sentences without for calibration."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from squeeze_onnx.data.glue import HIGHEST_SCORE, LABEL_COLUMN, plain
from squeeze_onnx.data.records import Record, looks_like_hub_name, read_hub, read_lines, read_parquet, read_tsv
from squeeze_onnx.data.tasks import TRAIN, Split, Task
from squeeze_onnx.support.errors import DataError

Texts = tuple[str, ...]
"""The texts of one row: a sentence, or the two sentences of a pair."""

_READERS = {"tsv": read_tsv, "parquet": read_parquet}
_SHARD = r"(-\d{5}-of-\d{5})?"


@dataclass(frozen=True)
class Documents:
    """Documents that are ranked, by number: their names and texts."""

    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


NO_DOCUMENTS = Documents()


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """A split in the data set's order.

    ``labels`` has shape (rows,): class numbers (int64), scores (float64), or objects: the tags of the words of a text (then
    ``texts`` are words), the answers to a question, the grades of documents by number. Queries have ``names`` and ``documents``.
    """

    split: Split
    texts: tuple[Texts, ...]
    labels: np.ndarray
    names: tuple[str, ...] = ()
    documents: Documents = NO_DOCUMENTS

    def first(self, rows: int) -> "LabelledRows":
        """Return the first ``rows`` rows, or all if there are fewer."""
        return self.pick(np.arange(min(rows, len(self.texts))))

    def pick(self, numbers: np.ndarray) -> "LabelledRows":
        """Return the rows of these numbers (int, any order)."""
        return replace(
            self,
            texts=tuple(self.texts[number] for number in numbers),
            labels=self.labels[numbers],
            names=tuple(self.names[number] for number in numbers) if self.names else (),
        )


def read_validation(task: Task, data: str | Path) -> tuple[LabelledRows, ...]:
    """Read the splits ``task`` is scored on from a folder (GLUE's root or the task's own) or a hub data set.

    Raises DataError naming file and line for every row that is empty, has a wrong number of fields, a blank text or a
    label that the task does not know.
    """
    rows = []
    for split in task.splits:
        records = _split_records(task, split, data, (*task.columns, LABEL_COLUMN))
        if records is None and split is not task.splits[0]:
            continue
        if records is None:
            raise DataError(_missing(task, split, data))
        rows.append(_labelled(task, split, data, ((_texts(record, task), _label(record, task)) for record in records)))
    return tuple(rows)


def read_train(task: Task, data: str | Path) -> LabelledRows | None:
    """Read the train split of ``task`` with its labels; None if the folder ``data`` has none, for the task may live without.

    Which rows are left out, and what is raised, as in `train_texts` and `read_validation`.
    """
    records = _split_records(task, TRAIN, data, (*task.columns, LABEL_COLUMN))
    if records is None:
        return None
    read = ((_train_texts(record, task), record) for record in records)
    return _labelled(task, TRAIN, data, ((texts, _label(record, task)) for texts, record in read if all(texts)))


def train_texts(task: Task, data: str | Path, count: int | None, *, seed: int) -> list[Texts]:
    """Draw up to ``count`` different rows of the train split of ``task``, as a model reads them; labels are not looked at.

    None draws all of them; of the same ``seed`` fewer rows are the first of more.

    A pair that lacks one of its texts is left out: two of QQP do (huggingface/datasets#277). Raises DataError naming file
    and line for a row without any text.
    """
    records = _split_records(task, TRAIN, data, task.columns)
    if records is None:
        raise DataError(_missing(task, TRAIN, data))
    rows = [texts for texts in dict.fromkeys(_train_texts(record, task) for record in records) if all(texts)]
    if not rows:
        raise DataError(f"`data` {data}: the train split of {task.name} has no rows")
    drawn = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[index] for index in drawn]


def read_sentences(path: Path) -> Texts:
    """Read a text file with a sentence a line; raises DataError naming a blank line."""
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise DataError(f"{path} line {number} is empty; a sentence a line is expected")
    return tuple(lines)


def own_sentences() -> Texts:
    """Return the sentences that come with this package: everyday English, for a look without data."""
    return tuple(resources.files(__package__).joinpath("sentences.txt").read_text(encoding="utf-8").splitlines())


def _labelled(task: Task, split: Split, data: str | Path, rows: Iterable[tuple[Texts, float]]) -> LabelledRows:
    parsed = list(rows)
    if not parsed:
        raise DataError(f"`data` {data}: the {split.name} split of {task.name} has no rows")
    kind = np.int64 if task.labels else np.float64
    return LabelledRows(split, tuple(p[0] for p in parsed), np.array([p[1] for p in parsed], dtype=kind))


def _split_records(task: Task, split: Split, data: str | Path, columns: Sequence[str]) -> Iterator[Record] | None:
    """Return the rows of a split, or None if the folder has no file for it."""
    folder = Path(data)
    if folder.is_dir():
        files = _split_files(task, split, folder)
        if not files:
            return None
        return (record for file in files for record in _READERS[file.suffix[1:]](file, columns))
    if folder.exists():
        raise DataError(f"`data` {data} is a file; a task needs a folder of GLUE splits")
    if looks_like_hub_name(str(data)):
        return read_hub(str(data), task.name, split.name, columns)
    raise DataError(f"`data` {data} does not exist; give a folder of GLUE splits or a hub name such as nyu-mll/glue")


def _split_files(task: Task, split: Split, folder: Path) -> list[Path]:
    """Find the file of a split, or its parquet shards, in the task's folder; the best file name decides."""
    names = sorted(_task_folder(task, folder).iterdir())
    for stem in split.stems:
        for ending in _READERS:
            pattern = re.compile(re.escape(stem) + _SHARD + rf"\.{ending}")
            files = [path for path in names if pattern.fullmatch(path.name)]
            if files:
                return files
    return []


def _task_folder(task: Task, folder: Path) -> Path:
    """Return the subfolder named after the task (``SST-2``, ``sst2`` …), or ``folder`` itself if there is none."""
    named = [path for path in sorted(folder.iterdir()) if path.is_dir() and plain(path.name) == task.name]
    if len(named) > 1:
        raise DataError(
            f"`data` {folder} has {' and '.join(path.name for path in named)} for {task.name}; name one of them"
        )
    return named[0] if named else folder


def _missing(task: Task, split: Split, data: str | Path) -> str:
    expected = [f"{stem}.{ending}" for stem in split.stems for ending in _READERS]
    return (
        f"`data` {data} has no {split.name} split of {task.name}: expected {', '.join(expected)}, there or in a "
        f"subfolder named {task.name}"
    )


def _texts(record: Record, task: Task) -> Texts:
    """Return the texts of a row; every one of them says something."""
    texts = _fields(record, task)
    for column, text in zip(task.columns, texts, strict=True):
        if not text.strip():
            raise DataError(f"{record.place}: {column} is blank")
    return texts


def _train_texts(record: Record, task: Task) -> Texts:
    """Return the texts of a row, blank ones as ""; at least one of them says something."""
    texts = tuple(text if text.strip() else "" for text in _fields(record, task))
    if not any(texts):
        raise DataError(f"{record.place}: {' and '.join(task.columns)} blank")
    return texts


def _fields(record: Record, task: Task) -> Texts:
    fields = []
    for column in task.columns:
        field = record.values[column]
        if not isinstance(field, str):
            raise DataError(f"{record.place}: {column} is {field!r}, not a text")
        fields.append(field)
    return tuple(fields)


def _label(record: Record, task: Task) -> float:
    """Return the class number or score; a class may stand there by number or by name."""
    given = record.values[LABEL_COLUMN]
    if task.labels:
        known = {name: number for number, name in enumerate(task.labels)}
        known |= {str(number): number for number in range(len(task.labels))}
        if str(given) in known:
            return known[str(given)]
        raise DataError(f"{record.place}: label {given!r} is none of {', '.join(known)}")
    try:
        score = float(str(given))
    except ValueError:
        score = math.nan
    if 0 <= score <= HIGHEST_SCORE:
        return score
    raise DataError(f"{record.place}: label {given!r} is no score from 0 to {HIGHEST_SCORE:g}")
