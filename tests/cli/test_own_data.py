"""Rows of one's own on the command line: `validate`, `optimize --max-drop`, a recipe."""

import csv
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from squeeze_onnx.cli.validation_tables import verdict
from tests.cli.test_validate import assert_one_sentence
from tests.conftest import RunCli
from tests.graded_pairs import GradedPair, graded_pairs
from tests.text_models import Vectors, write_classifier
from tests.tiny_encoder import encoder_model, write_model_folder

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "film": (0.0, 0.0)}
OPTIONS = ("--method", "whiten", "--no-refit", "--metric", "spearman", "--max-drop", "25")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("own") / "model", encoder_model(layers=1))


@pytest.fixture(scope="module")
def pairs(model: Path) -> list[GradedPair]:
    return graded_pairs(model, 480)


@pytest.fixture(scope="module")
def rows(model: Path, pairs: list[GradedPair]) -> Path:
    return write_pairs(model.parent / "rows.csv", pairs)


def write_pairs(path: Path, pairs: Sequence[GradedPair]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["first", "second", "grade"])
        table.writerows([*pair.texts, repr(pair.cosine)] for pair in pairs)
    return path


NAMED = ("--columns", "text=first,text2=second,label=grade")


def test_validate_says_what_was_read_and_writes_the_gate(call_cli: RunCli, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model", SENTIMENT)
    data = tmp_path / "reviews.tsv"
    data.write_text("review\tstars\ngood film\t1\nbad film\t0\nbad\t0\n", encoding="utf-8")
    gate = ("--max-drop", "1", "--junit", tmp_path / "gates.xml", "--html", tmp_path / "v.html")
    done = call_cli("validate", model, model, "--data", data, *gate)
    assert (done.returncode, done.stderr) == (0, "")
    said = " ".join(done.stdout.split())
    assert f"{data} was read as TSV: text=review,label=stars (columns found by their names; --columns names" in said
    assert "Passed: accuracy drops by 0.00 points (cpu); 1 is allowed." in said
    xml = (tmp_path / "gates.xml").read_text(encoding="utf-8")
    assert "accuracy of reviews.tsv drops by at most 1 points on cpu" in xml
    assert "reviews.tsv" in (tmp_path / "v.html").read_text(encoding="utf-8")


def test_a_column_that_may_hold_labels_is_asked_for_and_not_the_file_again(call_cli: RunCli, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model", SENTIMENT)
    data = tmp_path / "reviews.tsv"
    data.write_text("review\tgold\ngood film\t1\nbad film\t0\n", encoding="utf-8")
    said = " ".join(call_cli("validate", model, model, "--data", data).stdout.split())
    assert f"Nothing was scored: no column of {data} is known to hold labels; --columns text=NAME,label=NAME" in said


def test_a_doubted_baseline_is_said_and_stops_a_gate(call_cli: RunCli, tmp_path: Path) -> None:
    model = write_classifier(tmp_path / "model", SENTIMENT)
    data = tmp_path / "reviews.tsv"
    data.write_text("review\tstars\ngood film\t0\nbad film\t1\nbad\t1\n", encoding="utf-8")
    done = call_cli("validate", model, model, "--data", data, "--html", tmp_path / "v.html")
    assert done.returncode == 0
    doubt = "its labels look permuted: the accuracy is 0.0 %, and 100.0 % if its classes are 0 = 1, 1 = 0;"
    assert f"The baseline is to be doubted on cpu: {doubt}" in " ".join(done.stdout.split())
    assert "is to be doubted" in (tmp_path / "v.html").read_text(encoding="utf-8")
    done = call_cli("validate", model, model, "--data", data, "--max-drop", "1", "--json", tmp_path / "v.json")
    assert done.returncode == 2
    assert_one_sentence(done.stderr)
    assert doubt in done.stderr
    assert not (tmp_path / "v.json").exists()


def test_the_smallest_model_within_a_drop_on_own_rows(
    call_cli: RunCli, model: Path, rows: Path, tmp_path: Path
) -> None:
    done = call_cli("optimize", model, "-o", tmp_path / "out", *OPTIONS, "--data", rows, *NAMED)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    # Half of the rows is what calibration may read; what is left is halved, to search on and to judge by.
    searched, judged = report["search"]["selection"], report["search"]["gate"]
    assert [(stage["split"], stage["rows"]) for stage in (searched, judged)] == [
        ("first half", 120),
        ("second half", 120),
    ]
    assert (report["search"]["task"], report["search"]["primary_metric"]) == ("rows.csv", "spearman")
    assert judged["points"][-1]["drop_points"] <= 25
    assert report["size"]["optimized_bytes"] < report["size"]["baseline_bytes"]
    said = done.stdout.replace("\n", " ").partition("Next: ")[2]
    assert said.split()[:2] == ["squeeze-onnx", "validate"]
    done = call_cli(*shlex.split(said)[1:], "--json", tmp_path / "v.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))["data"]["rows"] == {"rows": 480}


def test_a_folder_with_a_train_file_is_searched_on_that(
    call_cli: RunCli, model: Path, pairs: list[GradedPair], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    write_pairs(tmp_path / "data" / "train.csv", pairs[0::2])
    write_pairs(tmp_path / "data" / "dev.csv", pairs[1::2])
    (tmp_path / "texts.txt").write_text(
        "\n".join(text for pair in pairs[:120:2] for text in pair.texts), encoding="utf-8"
    )
    options = (*OPTIONS, "--calibration", tmp_path / "texts.txt", "--data", tmp_path / "data", *NAMED)
    done = call_cli("optimize", model, "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    search = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["search"]
    assert (search["selection"]["split"], search["gate"]["split"]) == ("train", "dev")
    assert (search["selection"]["rows"], search["gate"]["rows"]) == (180, 240)


def test_a_recipe_says_the_same(call_cli: RunCli, model: Path, rows: Path, tmp_path: Path) -> None:
    table = (
        f'data = "{rows}"\ncolumns = "text=first,text2=second,label=grade"\nmetrics = ["pearson"]\nmax_drop = 100.0\n'
    )
    recipe = f'model = "{model}"\noutput = "out"\n[optimize]\nkeep = 0.8\nmethod = "svd"\n[validate]\n{table}'
    (tmp_path / "squeeze.toml").write_text(recipe, encoding="utf-8")
    done = call_cli("run", tmp_path / "squeeze.toml", "--junit", tmp_path / "gates.xml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "pearson of rows.csv drops" in (tmp_path / "gates.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--keep", "0.5", "--data", "{rows}", "--metric", "f1"), "--metric f1 is what --max-drop is in points of"),
        (("--keep", "0.5", "--data", "{rows}", "--calibration", "t.txt"), "is for --max-drop or --task where"),
        (("--keep", "0.5", "--data", "nowhere"), "--data nowhere is no file or folder of own rows"),
        (("--max-drop", "1"), "name the task with --task, or labelled rows with --data FILE"),
        (("--max-drop", "1", "--data", "{rows}", *NAMED[:1], "text=first,label=grade"), "name the second with"),
        (("--max-drop", "1", "--task", "stsb", "--data", "{rows}", "--metric", "f1"), "is of own data"),
        (("--max-drop", "1", "--data", "{rows}", *NAMED, "--calibration-rows", "400"), "lower --calibration-rows"),
    ],
    ids=["no gate", "nothing to do", "no file", "no data", "one text", "a task", "too few rows"],
)
def test_is_refused_in_one_sentence(
    call_cli: RunCli, rows: Path, tmp_path: Path, options: Sequence[str], sentence: str
) -> None:
    given = [option.format(rows=rows) for option in options]
    done = call_cli("optimize", rows.with_name("model"), "-o", tmp_path / "out", *given)
    assert done.returncode == 2
    assert_one_sentence(done.stderr)
    assert sentence in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_perplexity_that_rises_is_not_said_to_drop() -> None:
    report = {
        "task": "texts.txt",
        "primary_metric": "perplexity",
        "providers": {"cpu": {"drop_points": 2.5, "drop_interval": [1.5, 3.5]}},
        "max_drop": 1.0,
        "passed": False,
    }
    assert verdict(report).plain == "Failed: perplexity rises by 2.50 % (cpu); 1 is allowed."
