"""Retrieval under `validate`: folders in BEIR's layout, embedders and rerankers."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.support.errors import DataError, OptionError
from tests.evaluate.test_own_data import COMPASS, metrics_of, report_of, write_rows
from tests.text_models import write_classifier, write_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "search"
    (folder / "qrels").mkdir(parents=True)
    corpus = [("d1", "north", ""), ("d2", "", "east"), ("d3", "both", "north")]
    write_rows(folder / "corpus.jsonl", [{"_id": name, "title": title, "text": text} for name, title, text in corpus])
    write_rows(folder / "queries.jsonl", [{"_id": "q1", "text": "north"}, {"_id": "q2", "text": "east"}])
    lines = "query-id\tcorpus-id\tscore\nq1\td3\t1\nq2\td2\t2\nq2\td3\t1\n"
    (folder / "qrels" / "test.tsv").write_text(lines, encoding="utf-8")
    return folder


def test_embedders_rank_by_the_cosine(tmp_path: Path, folder: Path) -> None:
    model = write_encoder(tmp_path / "model", COMPASS)
    report = report_of(model, folder)
    second = 1 / np.log2(3)  # "north" is found before "both north"
    assert metrics_of(report) == pytest.approx(
        {"ndcg@10": (second + 1) / 2, "mrr@10": 0.75, "recall@100": 1.0}, abs=1e-6
    )
    assert (report["task"], report["primary_metric"], report["data"]["rows"]) == ("search", "ndcg@10", {"test": 2})


def test_embedders_rank_by_what_their_files_name(tmp_path: Path, folder: Path) -> None:
    """By the product "both north" is as near to "north" as that is to itself."""
    model = write_encoder(tmp_path / "model", COMPASS)
    (model / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "dot"}', encoding="utf-8")
    assert metrics_of(report_of(model, folder, metrics=("mrr@10",))) == {"mrr@10": 1.0}


def test_rerankers_read_every_pair(tmp_path: Path, folder: Path) -> None:
    # One number: how many words of both are "both".
    model = write_classifier(tmp_path / "model", {"north": (0.0,), "east": (-1.0,), "both": (1.0,)})
    assert metrics_of(report_of(model, folder, metrics=("mrr@10",))) == {"mrr@10": 1.0}


def test_a_classifier_is_refused(tmp_path: Path, folder: Path) -> None:
    classifier = write_classifier(tmp_path / "model", {"north": (0.0, 1.0)})
    with pytest.raises(OptionError, match="`data` search has"):
        report_of(classifier, folder)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("qrels/test.tsv", "q9\td1\t1", r"test.tsv line 5: 'q9' is not in .*queries.jsonl"),
        ("qrels/test.tsv", "q1\td9\t1", r"test.tsv line 5: 'd9' is not in .*corpus.jsonl"),
        ("qrels/test.tsv", "q1\td1\t0.5", r"test.tsv line 5 is 'q1\\td1\\t0.5'; expected query-id"),
        ("corpus.jsonl", '{"_id": "d1", "text": "east"}', "corpus.jsonl line 4: 'd1' was there before"),
        ("queries.jsonl", '{"_id": "q3"}', "queries.jsonl line 3: text is None, not a text"),
    ],
)
def test_what_is_not_as_beir_has_it_is_named(folder: Path, file: str, line: str, message: str) -> None:
    model = write_encoder(folder.with_name("model"), COMPASS)
    with (folder / file).open("a", encoding="utf-8") as lines:
        lines.write(line + "\n")
    with pytest.raises(DataError, match=message):
        report_of(model, folder)


def test_no_judgements(tmp_path: Path, folder: Path) -> None:
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"has no qrels/test.tsv"):
        report_of(write_encoder(tmp_path / "model", COMPASS), folder)
