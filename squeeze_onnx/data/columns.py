"""Which columns of somebody's own table hold the texts and the label: as they are named, or as common names have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from squeeze_onnx.support.errors import DataError, OptionError

_PAIRS = (
    *(("text", "text2"), ("text1", "text2"), ("text_a", "text_b"), ("text", "text_pair"), ("sentence1", "sentence2")),
    *(("sentence_a", "sentence_b"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence")),
    *(("question", "context"), ("question", "answer"), ("query", "passage"), ("query", "document"), ("query", "text")),
    *(("anchor", "positive"), ("query", "positive"), ("question", "positive"), ("source", "target")),
)
"""Names that two texts of a row go by, most telling first."""

_SINGLES = (
    *("text", "sentence", "sentence1", "content", "document", "body", "review", "tweet", "headline", "title", "query"),
    *("question", "utterance", "comment", "message", "description", "passage", "premise", "tokens", "words"),
)
"""Names that the only text of a row goes by; the last two hold it word by word."""

_LABELS = (
    *("label", "labels", "gold_label", "class", "score", "similarity", "category", "sentiment", "stars", "target"),
    *(
        "is_duplicate",
        "relatedness_score",
        "relevance",
        "rating",
        "intent",
        "emotion",
        "ner_tags",
        "tags",
        "answers",
        "answer",
    ),
)
"""Names that the label goes by: a class, a score, a tag for every word, or the answers to a question."""

_KEYS = ("text", "text2", "label")


@dataclass(frozen=True)
class Columns:
    """The columns of the text, of a second text that belongs to it, and of the label; None for what a table does not have."""

    text: str
    text2: str | None = None
    label: str | None = None

    @classmethod
    def parse(cls, spelled: str) -> Self:
        """Read ``text=NAME,text2=NAME,label=NAME``, of which the first must be there; raises OptionError."""
        entries = [entry.partition("=") for entry in spelled.split(",")]
        named = {key.strip(): name.strip() for key, _, name in entries}
        whole = len(named) == len(entries) and all(name for name in named.values())
        if not whole or not set(named) <= set(_KEYS) or "text" not in named:
            raise OptionError(
                f"`columns` is text=NAME, with text2=NAME and label=NAME where there are any; got {spelled!r}"
            )
        return cls(named["text"], named.get("text2"), named.get("label"))

    @classmethod
    def guess(cls, names: Sequence[str], place: str) -> Self:
        """Find columns by common names, whatever their case; raises DataError, beginning with ``place``, for no text at all."""
        by_name = {name.strip().lower(): name for name in names}
        pair = next((pair for pair in _PAIRS if set(pair) <= set(by_name)), None)
        single = next((name for name in _SINGLES if name in by_name), None)
        taken = pair or ((single,) if single else ())
        if not taken:
            raise DataError(
                f"{place} has no column of a name that says it holds text; it has {', '.join(names)}: name it with "
                "`columns` text=NAME"
            )
        label = next((by_name[name] for name in _LABELS if name in by_name and name not in taken), None)
        return cls(by_name[taken[0]], by_name[taken[1]] if len(taken) == 2 else None, label)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of the texts, in the order a model reads them."""
        return (self.text,) if self.text2 is None else (self.text, self.text2)

    def without_label(self) -> "Columns":
        """Return the texts alone."""
        return Columns(self.text, self.text2)

    def to_json(self) -> dict[str, str | None]:
        """Return plain values."""
        return {"text": self.text, "text2": self.text2, "label": self.label}

    def __str__(self) -> str:
        return ",".join(f"{key}={name}" for key, name in self.to_json().items() if name is not None)


def tells_text(names: Sequence[str]) -> bool:
    """Say whether a column of text has one of its common names among ``names``."""
    try:
        Columns.guess(names, "")
    except DataError:
        return False
    return True
