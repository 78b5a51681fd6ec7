"""Own data as questions: what a file or folder holds, what a model can be asked of it, and by which metrics that is scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.own_rows import labelled_rows, looks_like_answers, looks_like_tags, own_task
from squeeze_onnx.data.packed_text import PACKED
from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.retrieval import JUDGEMENTS, SEARCHED, is_retrieval_folder, read_retrieval, retrieval_task
from squeeze_onnx.data.table_formats import ENDINGS
from squeeze_onnx.data.tables import TableFormat, TextTable, read_table
from squeeze_onnx.data.tasks import Kind, Split, Task
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenLogits,
    WordLogits,
)
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.evaluate.metrics import METRICS, OF_LABELS, USUAL, find_metrics
from squeeze_onnx.evaluate.span_head import SpanLogits, span_head
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.errors import DataError, ModelError, OptionError

HELD_BACK = Split("validation", ("dev", "validation", "val", "test", "eval"))
LEARNED_ON = Split("train", ("train",))


_LENGTHS = {Kind.SPANS: 384}
"""Tokens that a sequence is cut to unless it is said, where that is more than elsewhere: windows of a context."""


def usual_length(task: Task | None) -> int | None:
    """Return what sequences of ``task`` are cut to unless it is said, as `load_text_encoder` takes it."""
    return None if task is None else _LENGTHS.get(task.kind)


def check_own_options(task: str | None, data: str | Path | None, columns: str | None, metrics: Sequence[str]) -> None:
    """Raise OptionError for columns or metrics that are unknown, or that nothing is read for."""
    if columns is not None:
        Columns.parse(columns)
    find_metrics(metrics)
    for option, given in (("`columns`", columns), ("`metric`", ", ".join(metrics))):
        if given and task is not None:
            raise OptionError(f"{option} {given} is of own data, and `task` {task} has its own: leave one of them out")
        if given and data is None:
            raise OptionError(f"{option} {given} is of own data: give rows with `data` FILE")


@dataclass(frozen=True)
class AskedModel:
    """The model that own rows are for: how it answers (None: in no way that is known without them), and what its files say."""

    label: str
    head: Head | None
    config: ModelConfig

    @classmethod
    def of(cls, session: Session, config: ModelConfig) -> "AskedModel":
        """Look at an open model."""
        head: Head | None = span_head(session.outputs)
        try:
            return cls(session.label, head or choose_head(session, config, None), config)
        except ModelError:
            return cls(session.label, None, config)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of its classes or tags, by number where config.json has none; empty if it has no classes."""
        if isinstance(self.head, ClassLogits):
            count = len(self.head.order)
            names = self.config.labels
            return names if len(names) == count else tuple(str(number) for number in range(count))
        return self.config.labels if isinstance(self.head, LabelLogits | TokenLogits) else ()


@dataclass(frozen=True)
class OwnData:
    """What was read: texts as they stand, and the task with its rows if they can be scored, else the reason in ``note``."""

    table: TextTable | None = None
    task: Task | None = None
    rows: LabelledRows | None = None
    note: str | None = None

    @property
    def format(self) -> TableFormat | None:
        """What a file was read as."""
        return None if self.table is None else self.table.format


def own_file(path: Path, split: Split = HELD_BACK) -> Path | None:
    """Return the file of a split in a folder of own data, ``path`` itself if it is a file; None if there is none."""
    if not path.is_dir():
        return path
    endings = [ending + packed for packed in ("", *PACKED) for ending in ENDINGS]
    found = (path / f"{stem}{ending}" for stem in split.stems for ending in endings)
    return next((file for file in found if file.is_file()), None)


def read_own_data(
    path: Path,
    model: AskedModel,
    *,
    columns: Columns | None = None,
    metrics: Sequence[str] = (),
    must_score: bool = False,
    split: Split = HELD_BACK,
) -> OwnData:
    """Read ``path``, a file of rows, a folder with one for each split, or one in the layout of BEIR, for ``model``.

    ``metrics`` are names as `find_metrics` returns them; without any they are the usual ones of what the labels are. Rows that
    cannot be scored are read as texts, unless they ``must_score``: then OptionError says why.
    """
    of_labels = OF_LABELS if isinstance(model.head, LabelLogits) else {}
    names = tuple(dict.fromkeys(of_labels.get(name, name) for name in metrics))
    must_score = must_score or bool(names)
    if is_retrieval_folder(path):
        return _retrieval(path, names, columns)
    file = own_file(path, split)
    if file is None:
        expected = ", ".join(f"{stem}{ending}" for stem in split.stems[:2] for ending in (".jsonl", ".csv"))
        raise DataError(
            f"`data` {path} is a folder without a file of rows such as {expected}, and without corpus.jsonl; say with `task` "
            "which task of GLUE its splits are of"
        )
    kind = METRICS[names[0]].kind if names else None
    if kind is Kind.RANKING:
        raise OptionError(
            f"`metric` {names[0]} is of a folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv)"
        )
    table = read_table(file, columns)
    if kind is Kind.WORDS:
        return _language(path, table, names)
    reason = _why_not(table, kind, model)
    if reason is not None:
        if must_score:
            raise OptionError(reason)
        return OwnData(table, note=None if table.labels is None else reason)
    kind = kind or _kind_of(table, model)
    assert kind is not None, "a reason was given otherwise"
    own = [name for name in names if METRICS[name].kind is None]
    if own and kind not in (Kind.CLASSES, Kind.SCORES):
        raise OptionError(f"`metric` {own[0]} takes classes or scores, and {model.label} is scored as {kind}")
    names = names or _usual(kind, model)
    if any(METRICS[name].of_two for name in names) and len(model.class_names) > 2:
        raise OptionError(
            f"`metric` f1 is of two classes, and {model.label} has {len(model.class_names)}: f1_macro or f1_micro"
        )
    try:
        rows = labelled_rows(table, kind, model.class_names, replace(split, name=file.stem))
    except DataError as error:
        if must_score or not table.format.guessed:
            raise
        return OwnData(table, note=str(error))
    return OwnData(table, own_task(path, table, kind, model.class_names, names), rows)


def _retrieval(path: Path, metrics: tuple[str, ...], columns: Columns | None) -> OwnData:
    if columns is not None:
        raise OptionError(
            f"`columns` names those of a table, and `data` {path} is a folder in BEIR's layout: leave it out"
        )
    if metrics and METRICS[metrics[0]].kind is not Kind.RANKING:
        usual = ", ".join(USUAL[Kind.RANKING])
        raise OptionError(f"`data` {path} is a folder in BEIR's layout, scored by {usual}; got {metrics[0]}")
    rows = read_retrieval(path)
    if rows is None:
        raise DataError(f"`data` {path} has no {JUDGEMENTS}/test.tsv, which says which documents answer a query")
    return OwnData(task=retrieval_task(path, metrics or USUAL[Kind.RANKING]), rows=rows)


def read_own_train(path: Path, model: AskedModel, task: Task, *, columns: Columns | None = None) -> LabelledRows | None:
    """Return the rows of a folder of own data that budgets may be searched on; None where it has no such file."""
    if task.kind is Kind.RANKING:
        rows = read_retrieval(path, SEARCHED)
        return None if rows is None or rows.split.name == "test" else rows
    if not path.is_dir() or own_file(path, LEARNED_ON) is None:
        return None
    read = read_own_data(path, model, columns=columns, metrics=task.metrics, must_score=True, split=LEARNED_ON)
    return read.rows


def _language(path: Path, table: TextTable, metrics: tuple[str, ...]) -> OwnData:
    if len(metrics) > 1:
        raise OptionError(
            f"`metric` {metrics[0]} is of causal and {metrics[1]} of masked language models: name one of them"
        )
    texts = replace(table, texts=tuple((" ".join(texts),) for texts in table.texts), labels=None)
    task = own_task(path, texts, Kind.WORDS, (), metrics)
    return OwnData(texts, task, LabelledRows(HELD_BACK, texts.texts, np.zeros(len(texts.texts))))


def _kind_of(table: TextTable, model: AskedModel) -> Kind | None:
    """Return what the labels of ``table`` are to a model that answers as ``model`` does."""
    first = next((label for label in table.labels or () if label is not None), None)
    match model.head:
        case ClassLogits():
            return Kind.CLASSES
        case LabelLogits():
            return Kind.LABELS
        case ScoreHead() | SentenceEmbedding():
            return Kind.SCORES
        case TokenLogits() if looks_like_tags(first) or isinstance(first, str):
            return Kind.ENTITIES
        case SpanLogits() if looks_like_answers(first) or isinstance(first, str):
            return Kind.SPANS
        case _:
            return None


def _why_not(table: TextTable, kind: Kind | None, model: AskedModel) -> str | None:
    """Say why the rows of ``table`` cannot be scored; None if they can."""
    place, answers = table.format.path, "nothing known" if model.head is None else model.head.kind.replace("_", " ")
    usual = _kind_of(table, model)
    if table.labels is None:
        return f"{place} has no column of labels: name it with `columns` text=NAME,label=NAME"
    if isinstance(model.head, WordLogits):
        return f"{model.label} is a language model: score it with `metric` perplexity or pseudo_perplexity"
    if usual is None:
        return f"the labels of {place} say nothing about a model that answers with {answers}"
    if kind is not None and kind is not usual:
        return f"`metric` is about {kind}, and {model.label} answers with {answers}, which is scored as {usual}"
    return _what_is_missing(table, model)


def _what_is_missing(table: TextTable, model: AskedModel) -> str | None:
    if isinstance(model.head, SentenceEmbedding) and any(len(texts) != 2 for texts in table.texts):
        return (
            f"{model.label} gives embeddings, which are scored by how alike two texts are, and {table.format.path} has one a "
            "row: name the second with `columns` text=NAME,text2=NAME,label=NAME"
        )
    if isinstance(model.head, LabelLogits | TokenLogits) and not model.config.labels:
        unnamed = "tags" if isinstance(model.head, TokenLogits) else "labels"
        return f"no config.json beside {model.label} names its {unnamed}: write id2label into it"
    return None


def _usual(kind: Kind, model: AskedModel) -> tuple[str, ...]:
    if kind is Kind.CLASSES and len(model.class_names) == 2:
        return ("accuracy", "f1")
    return USUAL[kind]
