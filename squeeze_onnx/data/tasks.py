"""What a task is, for GLUE and own data alike: the columns of its rows, what is asked of a model, and what scores it."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a model is asked of a row, and what an answer is held against."""

    CLASSES = "classes"
    """The class of a text or a pair; the number of the right one."""
    LABELS = "labels"
    """Any number of labels of a text or a pair; the right ones."""
    SCORES = "scores"
    """A score of a text or a pair, or how alike its two texts are; the right one."""
    ENTITIES = "entities"
    """A tag for every word, B-NAME, I-NAME or O; the right ones."""
    SPANS = "spans"
    """The part of a context that answers a question; the answers that people gave."""
    WORDS = "words"
    """The words of a text themselves."""
    RANKING = "ranking"
    """Which documents answer a query; those that do, and how well."""


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    ``name`` is what the hub calls it, ``stems`` the file names it goes by without ending, best first. ``suffix`` is put
    behind the metrics scored on it. A task is not scored without its first split; the others may be missing.
    """

    name: str
    stems: tuple[str, ...]
    suffix: str = ""


TRAIN = Split("train", ("train", "train_subset"))
VALIDATION = Split("validation", ("dev", "validation"))


@dataclass(frozen=True)
class Task:
    """A task.

    ``columns`` hold the texts of a row. ``labels`` are the class names (or those of the tags of words) in the data set's order,
    empty for what has none. ``metrics`` are names of `squeeze_onnx.evaluate.metrics.METRICS`, ``primary_metric`` is what gates
    and budgets look at. ``own`` is not one of GLUE's but somebody's own: its classes are numbered as the model's.
    """

    name: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    primary_metric: str
    splits: tuple[Split, ...] = (VALIDATION,)
    kind: Kind = Kind.CLASSES
    own: bool = False
