"""Tags of words: names of persons, places and the like, as B-NAME, I-NAME and O say where they begin and go on.

What an entity is follows seqeval in its default mode, which follows conlleval of CoNLL-2000: an I-NAME that does not go on begins
one, too. A word has the tag of its first token; what does not fit into the model is tagged O.
"""

from collections.abc import Sequence

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Way
from squeeze_onnx.evaluate.open_model import OpenModel

Entity = tuple[str, int, int]
"""The name, the first word and the last."""

OUTSIDE = "O"


def ask_entities(task: Task | None, model: OpenModel, rows: LabelledRows, way: Way) -> Asked:
    """Return how many entities of each row are right, were found and are wanted: (rows, 3)."""
    assert task is not None, "words without tags are not asked about"
    sequences, words = way.encoder.encode_words(rows.texts)
    answers = model.answers(sequences, padding=way.encoder.padding, batch_size=way.batch_size, track=way.track)
    best, ends = np.argmax(answers, axis=1), np.cumsum([len(sequence) for sequence in sequences])
    counts = []
    for tags, first_tokens, end, sequence in zip(rows.labels, words, ends, sequences, strict=True):
        said = best[end - len(sequence) : end]
        predicted = [OUTSIDE if token is None else task.labels[said[token]] for token in first_tokens]
        wanted, found = entities_of(tags), entities_of(predicted)
        counts.append((len(wanted & found), len(found), len(wanted)))
    return Asked(sequences, answers, np.array(counts, np.float64))


def entities_of(tags: Sequence[str]) -> set[Entity]:
    """Return the entities that ``tags`` of the words of one text name, as seqeval.metrics.sequence_labeling.get_entities does."""
    found: set[Entity] = set()
    before, name_before, start = OUTSIDE, "", 0
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, name = _parts(tag)
        if _ends(before, prefix, name_before, name):
            found.add((name_before, start, place - 1))
        if _starts(before, prefix, name_before, name):
            start = place
        before, name_before = prefix, name
    return found


def _parts(tag: str) -> tuple[str, str]:
    """Return the prefix and the name: a tag without a name is one of the name ``_``."""
    return tag[0], tag[1:].split("-", maxsplit=1)[-1] or "_"


def _ends(before: str, prefix: str, name_before: str, name: str) -> bool:
    if before in "ES":
        return True
    if before in "BI" and prefix in "BSO":
        return True
    return before not in "O." and name_before != name


def _starts(before: str, prefix: str, name_before: str, name: str) -> bool:
    if prefix in "BS":
        return True
    if before in "ESO" and prefix in "EI":
        return True
    return prefix not in "O." and name_before != name
