"""Queries, documents and judgements in the layout of BEIR (Thakur et al. 2021, arXiv 2104.08663).

corpus.jsonl     {"_id": …, "title": …, "text": …}, a document a line
queries.jsonl    {"_id": …, "text": …}
qrels/test.tsv   query-id, corpus-id, score, below a line of these names; dev.tsv and train.tsv may lie beside it
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.data.readers import Documents, LabelledRows
from squeeze_onnx.data.records import Record, read_lines
from squeeze_onnx.data.table_formats import FORMATS
from squeeze_onnx.data.tasks import TRAIN, Kind, Split, Task
from squeeze_onnx.support.errors import DataError

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels"

TEST = Split("test", ("test", "dev"))
SEARCHED = Split(TRAIN.name, ("train", "dev"))


def is_retrieval_folder(path: Path) -> bool:
    """Say whether ``path`` is a folder in the layout of BEIR."""
    return (path / CORPUS).is_file() and (path / QUERIES).is_file()


def retrieval_task(path: Path, metrics: tuple[str, ...]) -> Task:
    """Return the task of the folder ``path``, which is scored by ``metrics``, the first of which is the primary one."""
    return Task(path.resolve().name, ("text",), (), metrics, metrics[0], (TEST,), Kind.RANKING, own=True)


def read_retrieval(path: Path, split: Split = TEST) -> LabelledRows | None:
    """Return the judged queries of ``split`` with all documents; None if the folder has no judgements of that name.

    Raises DataError, naming file and line, for what is not as BEIR has it, and for judgements about what does not exist.
    """
    files = (path / JUDGEMENTS / f"{stem}.tsv" for stem in split.stems)
    judgements = next((file for file in files if file.is_file()), None)
    if judgements is None:
        return None
    documents = dict(_texts(path / CORPUS))
    queries = dict(_texts(path / QUERIES))
    numbers = {name: number for number, name in enumerate(documents)}
    judged: dict[str, dict[int, int]] = {}
    for place, query, document, grade in _judgements(judgements):
        for name, known, file in ((query, queries, QUERIES), (document, documents, CORPUS)):
            if name not in known:
                raise DataError(f"{place}: {name!r} is not in {path / file}: add it there, or leave out the line")
        judged.setdefault(query, {})[numbers[document]] = grade
    if not judged:
        raise DataError(f"{judgements} has no judgements")
    labels = np.empty(len(judged), dtype=object)
    labels[:] = list(judged.values())
    return LabelledRows(
        Split(judgements.stem, (judgements.stem,)),
        tuple((queries[name],) for name in judged),
        labels,
        names=tuple(judged),
        documents=Documents(tuple(documents), tuple(documents.values())),
    )


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of a document or query; a title stands before its text."""
    seen: set[str] = set()
    for record in FORMATS["JSON Lines"](path)[1]:
        name, text = _field(record, "_id"), _field(record, "text")
        title = str(record.values.get("title") or "").strip()
        whole = f"{title} {text}".strip()
        if not whole:
            raise DataError(f"{record.place}: text is blank")
        if name in seen:
            raise DataError(f"{record.place}: {name!r} was there before")
        seen.add(name)
        yield name, whole
    if not seen:
        raise DataError(f"{path} has no rows")


def _field(record: Record, name: str) -> str:
    value: Any = record.values.get(name)
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise DataError(f"{record.place}: {name} is {value!r}, not a text")
    return str(value)


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """Yield place, query, document and grade; rows of trec_eval, with a 0 in between, are read too."""
    for number, line in enumerate(read_lines(path), start=1):
        place, fields = f"{path} line {number}", line.split("\t") if "\t" in line else line.split()
        if not line.strip() or (number == 1 and fields[-1].strip().lower() == "score"):
            continue
        if len(fields) not in (3, 4) or not fields[-1].strip().lstrip("-").isdigit():
            raise DataError(
                f"{place} is {line[:60]!r}; expected query-id, corpus-id and a whole score, with tabs between"
            )
        yield place, fields[0], fields[-2], int(fields[-1])
