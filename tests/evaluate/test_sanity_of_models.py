"""Dense models that know nothing of their rows, or call things by other names, stop a gate, whatever they are asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import ModelError
from tests.text_models import Vectors, write_classifier, write_encoder, write_reader, write_tagger

ROWS = 120
WORDS = tuple(f"w{number}" for number in range(12))
TAGS = ("O", "B-PER", "B-LOC")
NAMED = {"architectures": ["BertForTokenClassification"], "id2label": dict(zip("012", TAGS, strict=True))}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def doubt_of(model: Path, data: Path, **options: Any) -> str:
    """Return why ``model`` can be no measure."""
    with pytest.raises(ModelError, match="no gate can be judged by") as refused:
        validate(model, model, ValidateConfig(data=data, latency_rounds=1, max_drop=1.0, **options))
    return str(refused.value)


def tagger(folder: Path, named: int, places: Sequence[int] = (0, 1, 2)) -> Path:
    """Write a model that gives word number ``n`` the tag ``n % named``, as the class that stands at the place of that."""
    vectors = {word: np.eye(3)[places[number % named]].tolist() for number, word in enumerate(WORDS)}
    return write_tagger(folder / "model", vectors, **NAMED)


def drawn_words(seed: int) -> list[list[int]]:
    return [list(map(int, row)) for row in np.random.default_rng(seed).integers(0, len(WORDS), (ROWS, 6))]


def test_tags_that_say_nothing_of_the_words(tmp_path: Path) -> None:
    given = np.random.default_rng(1).integers(0, 3, (ROWS, 6))
    rows = [
        {"tokens": [WORDS[number] for number in row], "ner_tags": [TAGS[tag] for tag in tags]}
        for row, tags in zip(drawn_words(0), given, strict=True)
    ]
    doubt = doubt_of(tagger(tmp_path, 3), write_rows(tmp_path / "rows.jsonl", rows))
    assert "no better than chance: entity_f1 is 0.3" in doubt


@pytest.mark.parametrize(
    ("places", "swapped"),
    [((0, 2, 1), "PER is LOC, LOC is PER"), ((1, 0, 2), "PER is O, O is PER")],
    ids=["names", "a name and none"],
)
def test_names_in_another_order(tmp_path: Path, places: Sequence[int], swapped: str) -> None:
    rows = [
        {"tokens": [WORDS[number] for number in row], "ner_tags": [TAGS[number % 3] for number in row]}
        for row in drawn_words(2)
    ]
    doubt = doubt_of(tagger(tmp_path, 3, places), write_rows(tmp_path / "rows.jsonl", rows))
    assert f"100.0 % if {swapped}; write the right names into id2label" in doubt


def test_a_class_that_most_rows_have_said_of_most_rows(tmp_path: Path) -> None:
    """It is right of four rows in five, far above one in two, and would be with any texts."""
    vectors: Vectors = {word: (0.0, -1.0 if number == 0 else 1.0) for number, word in enumerate(WORDS[:10])}
    model = write_classifier(tmp_path / "model", vectors)
    rng = np.random.default_rng(0)
    rows = [{"text": WORDS[rng.integers(10)], "label": int(rng.random() < 0.9)} for _ in range(4 * ROWS)]
    doubt = doubt_of(model, write_rows(tmp_path / "rows.jsonl", rows))
    assert "no better than chance: accuracy is 0.8" in doubt


def test_documents_in_any_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = write_encoder(tmp_path / "model", {word: rng.standard_normal(4).tolist() for word in WORDS})
    texts = [" ".join(rng.choice(WORDS, 3)) for _ in range(2 * ROWS)]
    folder = tmp_path / "search"
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts[:ROWS])])
    write_rows(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts[ROWS:])])
    (folder / "qrels").mkdir()
    judged = [f"q{query}\td{document}\t1" for query in range(ROWS) for document in rng.choice(ROWS, 3, replace=False)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged), encoding="utf-8")
    assert "no better than chance: ndcg@10 is 0.0" in doubt_of(model, folder)


def test_no_answer_to_any_question(tmp_path: Path) -> None:
    """Half of the questions have none."""
    model = write_reader(tmp_path / "model", dict.fromkeys(WORDS, (-1.0, -1.0)))
    rows = [
        {"question": "w1", "context": "w2 w3 w4", "answers": {"text": ["w3"] if number % 2 else [], "answer_start": []}}
        for number in range(8)
    ]
    doubt = doubt_of(model, write_rows(tmp_path / "rows.jsonl", rows))
    assert "span_f1 is 0.5000, and guesses score 0.5000" in doubt


def test_every_word_as_likely(tmp_path: Path) -> None:
    """A perplexity is to be low: it is chance where it is as high as the vocabulary is large."""
    vectors = {word: np.eye(len(WORDS) + 4)[0].tolist() for word in WORDS}
    model = write_tagger(tmp_path / "model", vectors, architectures=["GPT2LMHeadModel"])
    (tmp_path / "texts.txt").write_text("w1 w2 w3\nw4 w5\n", encoding="utf-8")
    doubt = doubt_of(model, tmp_path / "texts.txt", metrics=("perplexity",))
    assert "guesses score 16.0000" in doubt
