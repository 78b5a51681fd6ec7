"""Spans of a context: how they are chosen, and how they are scored."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.evaluate.asking.contexts import LONGEST_ANSWER
from squeeze_onnx.evaluate.asking.spans import scores_of_answer
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import OptionError
from tests.text_models import Vectors, write_reader

READER: Vectors = {
    "who": (9, 9),  # of a question: no answer, however likely
    "ann": (4, 1),
    "lee": (0, 4),
    "runs": (0, 0),
    "far": (0, 6),
    "nobody": (-6, -6),
}


def test_answers_score_as_by_the_script_of_squad() -> None:
    # The values are those of evaluate-v2.0.py of SQuAD 2.0 (as transformers 4.57 has it, squad_metrics.compute_exact and
    # compute_f1): the best over the references that are more than articles and punctuation, or the empty one.
    lines = Path(__file__).with_name("squad_scores.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    found = [scores_of_answer(row["answer"], row["references"]) for row in rows]
    np.testing.assert_allclose(found, [(row["exact"], row["f1"]) for row in rows], atol=1e-6)


def score(folder: Path, context: str, answers: list[str], question: str = "who", **options: Any) -> dict[str, float]:
    """Return the exact match and the F1 of the reader's answer."""
    model = write_reader(folder / "model", READER)
    row = {"question": question, "context": context, "answers": {"text": answers, "answer_start": [0] * len(answers)}}
    (folder / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    report = validate(model, model, ValidateConfig(data=folder / "rows.jsonl", latency_rounds=1, **options)).to_json()
    assert report["head"] == "span_logits"
    return {name: metric["baseline"] for name, metric in report["metrics"].items()}


@pytest.mark.parametrize(
    ("context", "answers", "exact", "f1"),
    [
        ("runs ann lee runs", ["ann lee"], 1, 1),
        ("runs ann runs lee", ["Ann", "lee"], 0, 0.5),
        ("lee runs ann runs", ["ann"], 1, 1),  # "lee" is the likeliest end, but before the likeliest start
        (" ".join(["ann", *["runs"] * LONGEST_ANSWER, "far"]), ["ann"], 0, 0),  # too long a span: "runs … far"
        ("nobody nobody", [], 1, 1),  # the first token of the window is likelier than any span
    ],
    ids=["a span", "the nearest reference", "starts before it ends", "no longer than 30 tokens", "no answer"],
)
def test_the_likeliest_span_of_the_context_is_the_answer(
    tmp_path: Path, context: str, answers: list[str], exact: float, f1: float
) -> None:
    assert score(tmp_path, context, answers) == pytest.approx({"exact_match": exact, "span_f1": f1})


def test_a_table_has_one_answer_a_row_and_none_where_a_cell_is_empty(tmp_path: Path) -> None:
    model, data = write_reader(tmp_path / "model", READER), tmp_path / "rows.csv"
    data.write_text("question,context,answer\nwho,runs ann lee,ann lee\nwho,nobody nobody,\n", encoding="utf-8")
    report = validate(model, model, ValidateConfig(data=data, latency_rounds=1)).to_json()
    assert report["metrics"]["exact_match"]["baseline"] == 1


def test_a_long_context_is_read_in_windows(tmp_path: Path) -> None:
    context = " ".join(["runs"] * 40 + ["ann", "lee"] + ["runs"] * 11)
    assert score(tmp_path, context, ["ann lee"], max_tokens=12)["exact_match"] == 1


def test_no_room_for_a_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="`max_tokens` 6 leaves no room for a context beside 'who who who'"):
        score(tmp_path, "ann lee", ["ann lee"], "who who who", max_tokens=6)
