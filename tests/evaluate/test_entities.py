"""Entities, counted as seqeval counts them, and words aligned to tokens."""

from pathlib import Path

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import example, given
from hypothesis import strategies as st

from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.own_rows import own_task
from squeeze_onnx.data.readers import LabelledRows
from squeeze_onnx.data.tables import read_table
from squeeze_onnx.data.tasks import VALIDATION, Kind
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.evaluate.asking import Way, ask
from squeeze_onnx.evaluate.asking.entities import entities_of
from squeeze_onnx.evaluate.metrics import METRICS
from squeeze_onnx.evaluate.open_model import OpenModel
from squeeze_onnx.runtime.sessions import open_session
from tests.text_models import Vectors, write_tagger

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "U-LOC", "L-LOC", "B-", "I")
PAIR_OF_TAGGINGS = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=9)

NAMES = {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}}
NAMED: Vectors = {"ann": (0, 1, 0), "lee": (0, 0, 1), "runs": (1, 0, 0)}


@given(st.lists(PAIR_OF_TAGGINGS, min_size=1, max_size=4))
@example([[("B", "O"), ("O", "B")], [("I", "I"), ("O", "O")]])  # what began last is not the same on both sides
@example([[("O", "O")], []])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_entity_f1_is_that_of_seqeval(texts: list[list[tuple[str, str]]]) -> None:
    wanted, found = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    counts = []
    for tags, said in zip(entities_of(wanted), entities_of(found), strict=True):
        counts.append((len(tags & said), len(said), len(tags)))
    value = METRICS["entity_f1"](np.empty(len(counts)), np.array(counts, np.float64))
    assert value == pytest.approx(seqeval.metrics.f1_score(wanted, found, zero_division=0), abs=1e-6)


def test_a_word_has_the_tag_of_its_first_token_and_what_does_not_fit_is_outside(tmp_path: Path) -> None:
    model = write_tagger(tmp_path / "model", NAMED, architectures=["BertForTokenClassification"], **NAMES)
    settings = read_settings(model / "model.onnx")
    encoder = load_text_encoder(model, settings, max_tokens=5)
    sequences, places = encoder.encode_words([("ann", "lee runs", "lee", "ann")])
    assert (len(sequences[0]), places) == (5, ((1, 2, None, None),))
    (tmp_path / "rows.jsonl").write_text('{"tokens": ["runs"], "ner_tags": ["O"]}', encoding="utf-8")
    table = read_table(tmp_path / "rows.jsonl")
    task = own_task(tmp_path / "rows.jsonl", table, Kind.ENTITIES, settings.labels, ("entity_f1",))
    labels = np.empty(2, dtype=object)
    labels[:] = [["B-PER", "I-PER", "O", "B-PER"], ["O", "B-PER"]]
    rows = LabelledRows(VALIDATION, (("ann", "lee", "runs", "ann"), ("runs", "ann")), labels)
    opened = OpenModel.of("baseline", open_session(model / "model.onnx"), settings, task)
    # "ann" is the fourth word, which five tokens with both ends have no room for.
    asked = ask(task, opened, rows, Way(encoder, 2))
    assert asked.predictions.tolist() == [[1, 1, 2], [1, 1, 1]]
