"""Tagged words as CoNLL's shared tasks have them: a word a line, its tag last, a blank line between sentences."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from squeeze_onnx.data.records import Record, read_lines
from squeeze_onnx.support.errors import DataError

_TAG = re.compile(r"O|[BIESLU]-\S+")
_DOCUMENT = "-DOCSTART-"

WORDS, TAGS = "tokens", "ner_tags"
"""What the two columns that are read are called, as the data sets on the hub call them."""


def looks_like_conll(lines: Sequence[str]) -> bool:
    """Whether every one of ``lines``, none of them blank, holds a word and ends with the tag of an entity, or with none (O)."""
    rows = [fields for line in lines if (fields := line.split()) and fields[0] != _DOCUMENT]
    return bool(rows) and all(len(fields) > 1 and _TAG.fullmatch(fields[-1]) for fields in rows)


def conll_rows(path: Path) -> Iterator[Record]:
    """Yield a row a sentence: its words and its tags. Raises DataError, naming the line, for a word without a tag."""
    words: list[str] = []
    tags: list[str] = []
    begun = 0
    for number, line in enumerate([*read_lines(path), ""], start=1):
        fields = line.split()
        if fields and fields[0] != _DOCUMENT:
            if len(fields) == 1:
                raise DataError(f"{path} line {number} is {line!r}, not a word and its tag")
            begun = begun if words else number
            words.append(fields[0])
            tags.append(fields[-1])
        elif not fields and words:
            yield Record(f"{path} line {begun}", {WORDS: words, TAGS: tags})
            words, tags = [], []
