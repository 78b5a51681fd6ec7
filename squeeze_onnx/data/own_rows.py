"""Somebody's own labelled rows as a task: the labels of a table, held against the classes of the model that is asked."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from squeeze_onnx.data.glue import plain
from squeeze_onnx.data.readers import LabelledRows, Texts
from squeeze_onnx.data.tables import TextTable
from squeeze_onnx.data.tasks import Kind, Split, Task
from squeeze_onnx.support.errors import DataError


def labelled_rows(table: TextTable, kind: Kind, names: Sequence[str], split: Split) -> LabelledRows:
    """Return the rows of ``table`` with its labels as metrics of ``kind`` take them; ``names`` are those of the model's classes.

    Raises DataError, naming file and line, for a label that is of another kind, or that the model does not know.
    """
    assert table.labels is not None, "checked by whoever asks for a score"
    readers = {
        Kind.CLASSES: _classes,
        Kind.LABELS: _label_sets,
        Kind.SCORES: _scores,
        Kind.ENTITIES: _tags,
        Kind.SPANS: _answers,
    }
    texts: tuple[Texts, ...] = table.texts
    if kind is Kind.ENTITIES:
        texts = table.words
    labels = readers[kind](table, names)
    return LabelledRows(split, texts, labels)


def own_task(path: Path, table: TextTable, kind: Kind, names: Sequence[str], metrics: tuple[str, ...]) -> Task:
    """Return the task of the rows of ``path``; the first of ``metrics`` is the primary one."""
    columns = table.format.columns.texts if table.format.columns is not None else ("text",)
    labels = tuple(names) if kind in (Kind.CLASSES, Kind.LABELS, Kind.ENTITIES) else ()
    return Task(path.name, columns, labels, metrics, metrics[0], kind=kind, own=True)


_OTHER_WORDS = {"pos": "positive", "neg": "negative"}
"""Labels that files have → those that models have for the same."""

_TRUTH = {"true": 1, "false": 0}
"""How tables without types write what is a boolean elsewhere."""


def _classes(table: TextTable, names: Sequence[str]) -> np.ndarray:
    """Return class numbers: labels are the model's names of them all, or numbers all."""
    labels = table.labels or ()
    known = {plain(name): number for number, name in enumerate(names)}
    spelled = [_OTHER_WORDS.get(word, word) if (word := plain(_word(label))) not in known else word for label in labels]
    if all(label in known for label in spelled):
        return np.array([known[label] for label in spelled], dtype=np.int64)
    numbers = [_whole(label) for label in labels]
    by_name = any(label in known for label in spelled)
    for place, label, word, number in zip(table.places, labels, spelled, numbers, strict=True):
        if word not in known if by_name else number is None or not 0 <= number < len(names):
            raise DataError(
                f"{place}: label {label!r} is none of the model's: {', '.join(names)}, or 0 to {len(names) - 1}"
                f"{_counted_from_one(numbers, len(names))}"
            )
    return np.array(numbers, dtype=np.int64)


def _counted_from_one(numbers: Sequence[int | None], classes: int) -> str:
    """Say so if labels run from 1 on: which of the model's each of them is must not be guessed."""
    found = {number for number in numbers if number is not None}
    if len(found) > 1 and min(found) == 1 and max(found) == classes:
        return f"; the labels run from 1 to {classes}: write names, or count from 0"
    return ""


def _word(label: object) -> str:
    return str(int(label)) if isinstance(label, bool) else str(label)


def _whole(label: object) -> int | None:
    """Return a label as a whole number, if it is one."""
    if isinstance(label, str) and label.strip().lower() in _TRUTH:
        return _TRUTH[label.strip().lower()]
    try:
        number = float(str(int(label) if isinstance(label, bool) else label))
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


_BETWEEN_LABELS = re.compile(r"[,;|]")
"""Where a cell of a table holds several labels."""


def _label_sets(table: TextTable, names: Sequence[str]) -> np.ndarray:
    """Return the numbers of the labels of each row: names or numbers, in a list or one cell, or a list of 0 or 1 for each."""
    known = {plain(name): number for number, name in enumerate(names)}
    rows = np.empty(len(table.texts), dtype=object)
    for index, (place, given) in enumerate(zip(table.places, table.labels or (), strict=True)):
        entries = given if isinstance(given, list) else _BETWEEN_LABELS.split("" if given is None else str(given))
        if len(entries) == len(names) > 1 and {_whole(entry) for entry in entries} <= {0, 1}:
            rows[index] = [number for number, entry in enumerate(entries) if _whole(entry)]
            continue
        labels = [entry for entry in entries if str(entry).strip()]
        rows[index] = sorted({_number_of(label, known, place) for label in labels})
    return rows


def _number_of(label: object, known: Mapping[str, int], place: str) -> int:
    number = known.get(plain(_word(label)), _whole(label))
    if number is None or not 0 <= number < len(known):
        raise DataError(
            f"{place}: label {label!r} is none of the model's: {', '.join(known)}, or 0 to {len(known) - 1}"
        )
    return number


def _scores(table: TextTable, names: Sequence[str]) -> np.ndarray:
    scores = []
    for place, label in zip(table.places, table.labels or (), strict=True):
        try:
            scores.append(float(str(int(label) if isinstance(label, bool) else label)))
        except ValueError:
            scores.append(math.nan)
        if not math.isfinite(scores[-1]):
            raise DataError(f"{place}: label {label!r} is no number")
    return np.array(scores)


def _tags(table: TextTable, names: Sequence[str]) -> np.ndarray:
    """Return the tags of each row, a list of names; a tag may stand there by its number."""
    rows = np.empty(len(table.texts), dtype=object)
    for index, (place, label, words) in enumerate(zip(table.places, table.labels or (), table.words, strict=True)):
        tags = label.split() if isinstance(label, str) else label
        if not isinstance(tags, list) or len(tags) != len(words):
            counted = len(tags) if isinstance(tags, list) else "no"
            raise DataError(f"{place} has {len(words)} words and {counted} tags; every word has one")
        rows[index] = [_tag(tag, names, place) for tag in tags]
    return rows


def _tag(tag: object, names: Sequence[str], place: str) -> str:
    if isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(names):
        return names[tag]
    if isinstance(tag, str) and tag and (tag in names or tag == "O"):
        return tag
    raise DataError(f"{place}: tag {tag!r} is none of the model's: {', '.join(names)}")


def _answers(table: TextTable, names: Sequence[str]) -> np.ndarray:
    """Return the texts of the answers of each row; none of them where a question has no answer."""
    rows = np.empty(len(table.texts), dtype=object)
    for index, (place, label) in enumerate(zip(table.places, table.labels or (), strict=True)):
        rows[index] = _answer_texts(label, place)
    return rows


def _answer_texts(label: object, place: str) -> list[str]:
    given = label.get("text") if isinstance(label, dict) else label
    entries = [given] if isinstance(given, str) else given
    if entries is None:
        return []
    texts = (
        [entry.get("text") if isinstance(entry, dict) else entry for entry in entries]
        if isinstance(entries, list)
        else [None]
    )
    if not all(isinstance(text, str) for text in texts):
        raise DataError(
            f"{place}: answers are {str(label)[:60]!r}; expected texts, or objects with a text, as SQuAD has them"
        )
    return [text for text in texts if isinstance(text, str) and text]


def looks_like_answers(label: object) -> bool:
    """Say whether ``label`` is what SQuAD's data has: objects with a text."""
    entries = label if isinstance(label, list) else [label]
    return all(isinstance(entry, dict) and "text" in entry for entry in entries)


def looks_like_tags(label: object) -> bool:
    """Say whether ``label`` is a list of tags, one a word."""
    return isinstance(label, list) and bool(label) and all(isinstance(tag, str | int) for tag in label)
