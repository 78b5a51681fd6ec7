"""Tags of words: names of persons, places and the like, as B-NAME, I-NAME and O say where they begin and go on.

What an entity is follows seqeval in its default mode, which follows conlleval of CoNLL-2000: an I-NAME that does not go on begins
one, too. A word has the tag of its first token; what does not fit into the model is tagged O.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.evaluate.asking.base import Asked, Beside, Way, shuffles
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
    predicted = []
    for first_tokens, end, sequence in zip(words, ends, sequences, strict=True):
        said = best[end - len(sequence) : end]
        predicted.append([OUTSIDE if token is None else task.labels[said[token]] for token in first_tokens])
    return Asked(
        sequences,
        answers,
        _counts(rows.labels, predicted),
        beside=Beside(
            guesses=lambda: _guesses(list(rows.labels), predicted),
            names=lambda: (_names(rows.labels), _names(predicted)),
        ),
    )


def _counts(wanted: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> np.ndarray:
    """Return how many entities of each text are right, were found and are wanted, (texts, 3)."""
    pairs = zip(entities_of(wanted), entities_of(predicted), strict=True)
    return np.array([(len(right & found), len(found), len(right)) for right, found in pairs], np.float64)


def _guesses(wanted: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the counts of the same tags on other words."""
    tags, drawn = [tag for text in predicted for tag in text], []
    for order in shuffles(len(tags)):
        turned = (tags[place] for place in order)
        drawn.append(_counts(wanted, [list(islice(turned, len(text))) for text in predicted]))
    return np.array(drawn)


def _names(texts: Iterable[Sequence[str]]) -> np.ndarray:
    """Return what each word is called, whether it begins a name or goes on with it."""
    return np.array([OUTSIDE if tag == OUTSIDE else _parts(tag)[1] for text in texts for tag in text])


def entities_of(texts: Iterable[Sequence[str]]) -> Iterator[set[Entity]]:
    """Yield the entities that the tags of the words of each text name, as seqeval.metrics.sequence_labeling.get_entities does.

    Places count on from text to text, and so does, as there, what was before a text: where tags have no names, an I at its
    beginning goes on with what began last.
    """
    before, name_before, start, place = OUTSIDE, "", 0, 0
    for tags in texts:
        found: set[Entity] = set()
        for tag in (*tags, OUTSIDE):
            prefix, name = _parts(tag)
            if _ends(before, prefix, name_before, name):
                found.add((name_before, start, place - 1))
            if _starts(before, prefix, name_before, name):
                start = place
            before, name_before, place = prefix, name, place + 1
        yield found


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
