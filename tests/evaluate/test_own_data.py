"""Own rows under `validate`: what they are read as, by what they are scored, and what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.cli.validation_tables import remarks
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.support.errors import DataError, ModelError, OptionError
from tests.text_models import Vectors, write_classifier, write_encoder, write_tagger

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.0, 0.0), "meh": (0.25, 0.0)}
NAMED = {"id2label": {"0": "negative", "1": "positive"}}
TEXTS = ("good film", "bad film", "meh", "good good film", "meh film", "bad")
RIGHT = ("positive", "negative", "negative", "positive", "negative", "positive")
SCORED = {"accuracy": 5 / 6, "f1": 0.8}
"""All but the last one are right, and that is a positive one."""

COMPASS: Vectors = {"north": (0.0, 1.0), "east": (1.0, 0.0), "both": (1.0, 1.0)}
PAIRS = (("north", "north", 5), ("north", "both", 3.5), ("north", "east", "0"))

TAGGED: Vectors = {"ann": (0, 1, 0), "lee": (0, 0, 1), "runs": (1, 0, 0)}

Write = Callable[[Path], Path]


def report_of(model: Path, data: Path, candidate: Path | None = None, **options: Any) -> dict[str, Any]:
    config = ValidateConfig(data=data, latency_rounds=1, batch_size=4, **options)
    return validate(model, candidate or model, config).to_json()


def metrics_of(report: dict[str, Any]) -> dict[str, float]:
    return {name: metric["baseline"] for name, metric in report["metrics"].items()}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_json_lines(folder: Path) -> Path:
    return write_rows(
        folder / "rows.jsonl", [{"text": text, "label": label} for text, label in zip(TEXTS, RIGHT, strict=True)]
    )


def as_table(name: str, delimiter: str, labels: Sequence[object] = RIGHT) -> Write:
    def write(folder: Path) -> Path:
        lines = ["sentence" + delimiter + "sentiment"]
        lines += [f"{text}{delimiter}{label}" for text, label in zip(TEXTS, labels, strict=True)]
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder / name

    return write


def as_parquet(folder: Path) -> Path:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": TEXTS, "label": [label == "positive" for label in RIGHT]})
    pyarrow.parquet.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


def as_folder(folder: Path) -> Path:
    as_json_lines(folder).rename(folder / "dev.jsonl")
    (folder / "train.jsonl").write_text("never read\n", encoding="utf-8")
    return folder


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "model", SENTIMENT, **NAMED)


class TestClasses:
    @pytest.mark.parametrize(
        "write",
        [
            as_json_lines,
            as_table("rows.csv", ","),
            as_table("rows.tsv", "\t"),
            as_table("rows", ",", [int(label == "positive") for label in RIGHT]),
            as_table("upper.csv", ",", [label.upper() for label in RIGHT]),
            as_table("short.csv", ",", [label[:3] for label in RIGHT]),
            as_table("truth.csv", ",", [label == "positive" for label in RIGHT]),
            as_parquet,
            as_folder,
        ],
        ids=[
            "JSON Lines",
            "CSV",
            "TSV",
            "CSV by its look, numbers",
            "names in capitals",
            "CSV, short names",
            "CSV, truth",
            "Parquet, truth",
            "a folder",
        ],
    )
    def test_every_format_is_scored_alike(self, tmp_path: Path, classifier: Path, write: Write) -> None:
        (tmp_path / "data").mkdir()
        report = report_of(classifier, write(tmp_path / "data"))
        assert metrics_of(report) == pytest.approx(SCORED)
        assert (report["primary_metric"], report["data"]["positive"]) == ("accuracy", "positive")
        assert list(report["data"]["rows"].values()) == [6]
        assert report["data"]["columns"]["label"] is not None
        assert report["data"]["columns_guessed"] and report["data"]["not_scored"] is None
        assert Path(report["data"]["file"]).is_file()

    def test_of_a_folder_the_file_that_is_read_is_told(self, tmp_path: Path, classifier: Path) -> None:
        (tmp_path / "data").mkdir()
        report = report_of(classifier, as_folder(tmp_path / "data"))
        assert report["data"]["file"] == str(tmp_path / "data" / "dev.jsonl")
        assert next(remarks(report)).startswith(f"{tmp_path / 'data' / 'dev.jsonl'} was read as JSON Lines")

    def test_columns_and_metrics_are_those_that_are_named(self, tmp_path: Path, classifier: Path) -> None:
        rows = [{"text": "bad", "said": text, "gold": label} for text, label in zip(TEXTS, RIGHT, strict=True)]
        data = write_rows(tmp_path / "rows.jsonl", rows)
        report = report_of(classifier, data, columns="text=said,label=gold", metrics=("mcc", "macro F1", "acc"))
        assert report["primary_metric"] == "matthews"
        assert list(report["metrics"]) == ["matthews", "f1_macro", "accuracy"]
        assert report["metrics"]["accuracy"]["baseline"] == pytest.approx(5 / 6)
        assert not report["data"]["columns_guessed"]

    def test_a_candidate_with_its_classes_in_another_order_is_read_by_their_names(
        self, tmp_path: Path, classifier: Path
    ) -> None:
        turned = {word: vector[::-1] for word, vector in SENTIMENT.items()}
        names = {"id2label": {"0": "POS", "1": "NEG"}}
        candidate = write_classifier(tmp_path / "turned", turned, **names)
        report = report_of(classifier, as_json_lines(tmp_path), candidate)
        assert report["metrics"]["accuracy"]["drop_points"] == 0

    def test_a_gate_looks_at_the_first_metric(self, tmp_path: Path, classifier: Path) -> None:
        blunt = write_classifier(tmp_path / "blunt", {**SENTIMENT, "meh": (0.0, 0.25)}, **NAMED)
        data = as_json_lines(tmp_path)
        report = report_of(classifier, data, blunt, metrics=("f1",), max_drop=13.4)
        # "meh" is twice positive then: two hits, two false alarms and a miss.
        assert report["drop_points"] == pytest.approx(100 * (0.8 - 4 / 7))
        assert not report["passed"]

    def test_limit_takes_the_first_rows(self, tmp_path: Path, classifier: Path) -> None:
        report = report_of(classifier, as_json_lines(tmp_path), limit=5)
        assert (metrics_of(report)["accuracy"], report["data"]["partial"]) == (1.0, True)


class TestWhatIsNotScored:
    def test_rows_without_labels_are_read_as_texts(self, tmp_path: Path, classifier: Path) -> None:
        report = report_of(classifier, write_rows(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS]))
        assert (report["task"], report["metrics"], report["data"]["not_scored"]) == (None, {}, None)
        assert (report["data"]["rows"], report["data"]["read_as"]) == ({"sentences": 6}, "JSON Lines")

    def test_labels_that_were_guessed_and_do_not_fit_are_named_and_left_alone(
        self, tmp_path: Path, classifier: Path
    ) -> None:
        data = as_table("rows.csv", ",", ["a", "b", "c", "a", "b", "c"])(tmp_path)
        report = report_of(classifier, data)
        assert report["metrics"] == {}
        assert report["data"]["not_scored"] == (
            f"{data} line 2: label 'a' is none of the model's: negative, positive, or 0 to 1"
        )

    def test_among_names_that_fit_the_one_that_does_not_is_named(self, tmp_path: Path, classifier: Path) -> None:
        data = as_table("rows.csv", ",", ["negative", "positive", "unsure", "0", "positive", "negative"])(tmp_path)
        assert report_of(classifier, data)["data"]["not_scored"].startswith(f"{data} line 4: label 'unsure' is none")

    def test_labels_that_run_from_one_are_not_guessed(self, tmp_path: Path, classifier: Path) -> None:
        data = as_table("rows.csv", ",", [1, 2, 1, 1, 2, 1])(tmp_path)
        told = report_of(classifier, data)["data"]["not_scored"]
        assert told.endswith("; the labels run from 1 to 2: write names, or count from 0")

    @pytest.mark.parametrize(
        "options", [{"max_drop": 1}, {"metrics": ("f1",)}, {"columns": "text=sentence,label=sentiment"}], ids=str
    )
    def test_but_not_where_a_score_was_asked_for(
        self, tmp_path: Path, classifier: Path, options: dict[str, Any]
    ) -> None:
        data = as_table("rows.csv", ",", ["a", "b", "c", "a", "b", "c"])(tmp_path)
        with pytest.raises(DataError, match=r"line 2: label 'a' is none of the model's"):
            report_of(classifier, data, **options)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_drop": 1}, "rows.jsonl has no column of labels: name it with `columns` text=NAME,label=NAME"),
            ({"metrics": ("acuracy",)}, r"`metric` is one of accuracy, .*; got 'acuracy'.*accuracy"),
            ({"metrics": ("accuracy", "pearson")}, "`metric` accuracy is about classes, and others .* about scores"),
            ({"columns": "label=gold"}, "`columns` is text=NAME"),
            ({"metrics": ("ndcg@10",)}, "`metric` ndcg@10 is of a folder in BEIR's layout"),
        ],
        ids=["a gate without labels", "a metric that is none", "two kinds", "no text", "a ranking of rows"],
    )
    def test_is_said_in_one_sentence(
        self, tmp_path: Path, classifier: Path, options: dict[str, Any], message: str
    ) -> None:
        data = write_rows(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS])
        with pytest.raises(OptionError, match=message):
            report_of(classifier, data, **options)

    @pytest.mark.parametrize("option", [{"columns": "text=a"}, {"metrics": ("f1",)}], ids=str)
    @pytest.mark.parametrize("data", [{}, {"task": "sst2", "data": "glue"}], ids=["no data", "of a task"])
    def test_options_of_own_data_need_it(self, option: dict[str, Any], data: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match="is of own data"):
            ValidateConfig(**option, **data)

    def test_f1_of_three_classes_is_refused(self, tmp_path: Path) -> None:
        model = write_classifier(tmp_path / "model", {"good": (0, 0, 1), "bad": (1, 0, 0)})
        data = write_rows(tmp_path / "rows.jsonl", [{"text": "good", "label": 2}, {"text": "bad", "label": 0}])
        assert metrics_of(report_of(model, data)) == {"accuracy": 1.0, "f1_macro": 1.0}
        with pytest.raises(OptionError, match=r"`metric` f1 is of two classes, and .* has 3: f1_macro or f1_micro"):
            report_of(model, data, metrics=("f1",))


class TestScores:
    def test_an_embedder_is_scored_by_pairs(self, tmp_path: Path) -> None:
        model = write_encoder(tmp_path / "model", COMPASS)
        rows = [{"sentence1": first, "sentence2": second, "score": score} for first, second, score in PAIRS]
        report = report_of(model, write_rows(tmp_path / "rows.jsonl", rows))
        cosines = [1, np.sqrt(0.5), 0]
        pearson = np.corrcoef(cosines, [5, 3.5, 0])[0, 1]
        assert metrics_of(report) == pytest.approx({"spearman": 1.0, "pearson": pearson})

    def test_one_text_a_row_says_nothing_about_it(self, tmp_path: Path) -> None:
        model = write_encoder(tmp_path / "model", COMPASS)
        data = write_rows(tmp_path / "rows.jsonl", [{"text": text, "score": score} for text, _, score in PAIRS])
        assert "has one a row: name the second" in report_of(model, data)["data"]["not_scored"]
        with pytest.raises(OptionError, match=r"name the second with `columns`"):
            report_of(model, data, max_drop=1)

    def test_a_label_that_is_no_number_is_refused_by_its_line(self, tmp_path: Path) -> None:
        model = write_encoder(tmp_path / "model", COMPASS)
        rows = [{"text": "north", "text2": "east", "label": label} for label in (1, "much")]
        with pytest.raises(DataError, match=r"rows.jsonl line 2: label 'much' is no number"):
            report_of(model, write_rows(tmp_path / "rows.jsonl", rows), max_drop=1)


class TestTags:
    def tagger(self, folder: Path, **config: Any) -> Path:
        return write_tagger(folder, TAGGED, architectures=["BertForTokenClassification"], **config)

    def test_words_are_scored_by_their_entities(self, tmp_path: Path) -> None:
        names = {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}}
        model = self.tagger(tmp_path / "model", **names)
        rows: list[dict[str, Any]] = [
            {"tokens": ["ann", "lee", "runs"], "ner_tags": [1, 2, 0]},  # found
            {"tokens": ["ann", "runs"], "ner_tags": ["B-PER", "I-PER"]},  # one word too short
            {"tokens": ["runs", "lee"], "ner_tags": "O O"},  # found where there is none
        ]
        report = report_of(model, write_rows(tmp_path / "rows.jsonl", rows))
        assert report["primary_metric"] == "entity_f1"
        assert metrics_of(report)["entity_f1"] == pytest.approx(2 / 5)

    def test_a_tag_for_every_word_is_asked_for(self, tmp_path: Path) -> None:
        model = self.tagger(tmp_path / "model", id2label={"0": "O", "1": "B-PER", "2": "I-PER"})
        data = write_rows(tmp_path / "rows.jsonl", [{"tokens": ["ann", "lee"], "ner_tags": [1]}])
        with pytest.raises(DataError, match="line 1 has 2 words and 1 tags; every word has one"):
            report_of(model, data, max_drop=1)

    def test_tags_without_names_are_not_scored(self, tmp_path: Path) -> None:
        model = self.tagger(tmp_path / "model")
        data = write_rows(tmp_path / "rows.jsonl", [{"tokens": ["ann"], "ner_tags": [1]}])
        with pytest.raises(OptionError, match=r"no config.json beside .* names its tags"):
            report_of(model, data, max_drop=1)


class TestSanity:
    def test_a_baseline_at_chance_stops_a_gate_but_not_a_look(self, tmp_path: Path, classifier: Path) -> None:
        labels = ["positive", "negative", "positive", "negative", "positive", "negative"]
        data = as_table("rows.csv", ",", labels)(tmp_path)
        sanity = report_of(classifier, data)["sanity"]
        assert (sanity["chance"], sanity["accuracy"]) == (0.5, 0.5)
        assert sanity["doubt"].startswith("it does no better than chance: accuracy is 0.5000, and guesses score 0.5000")
        with pytest.raises(ModelError, match=r"no gate can be judged by .*model\.onnx: it does no better than chance"):
            report_of(classifier, data, max_drop=1)

    @pytest.mark.parametrize("named", [True, False], ids=["named", "LABEL_n"])
    def test_an_order_of_classes_that_is_20_points_better_is_named_and_taken_where_no_name_says_otherwise(
        self, tmp_path: Path, named: bool
    ) -> None:
        names = {"id2label": {"0": "positive", "1": "negative"}} if named else {}
        model = write_classifier(tmp_path / "model", SENTIMENT, **names)
        labels = [int(label == "positive") if named else int(label != "positive") for label in RIGHT]
        if named:
            labels = [["negative", "positive"][label] for label in labels]  # type: ignore[misc]
        data = as_table("rows.csv", ",", labels)(tmp_path)
        report = report_of(model, data)
        assert (report["sanity"]["accuracy"], report["sanity"]["best_accuracy"]) == pytest.approx((1 / 6, 5 / 6))
        assert report["sanity"]["best_order"] == [1, 0]
        assert report["sanity"]["adopted"] is not named
        assert report["metrics"]["accuracy"]["baseline"] == pytest.approx(1 / 6 if named else 5 / 6)
        with pytest.raises(ModelError, match=r"its labels look permuted: the accuracy is 16\.7 %, and 83\.3 % if"):
            report_of(model, data, max_drop=1)
