import json
from pathlib import Path

import pytest

from squeeze_onnx.cli.validation_tables import verdict
from tests.conftest import RunCli
from tests.text_models import Vectors, write_classifier

SENTIMENT: Vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "meh": (0.25, 0.0)}
BLUNT: Vectors = {**SENTIMENT, "meh": (0.0, 0.25)}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a folder with two models, ``baseline`` and ``candidate``, and ``glue/SST-2/dev.tsv``: a drop of 25 points."""
    write_classifier(tmp_path / "baseline", SENTIMENT)
    write_classifier(tmp_path / "candidate", BLUNT)
    (tmp_path / "glue" / "SST-2").mkdir(parents=True)
    rows = "sentence\tlabel\ngood\t1\nbad\t0\nmeh\t0\ngood good\t1\n"
    (tmp_path / "glue" / "SST-2" / "dev.tsv").write_text(rows, encoding="utf-8")
    return tmp_path


def assert_one_sentence(stderr: str) -> None:
    assert stderr.startswith("squeeze-onnx: error: ")
    assert stderr.count("\n") == 1
    assert "Traceback" not in stderr


def test_a_gate_that_passes_is_status_0_with_a_table_and_reports(run_cli: RunCli, work: Path) -> None:
    report_path = work / "reports" / "validation.json"
    report_path.parent.mkdir()
    done = run_cli(
        *("validate", work / "baseline", work / "candidate", "--task", "sst2", "--data", work / "glue"),
        *("--max-drop", "25", "--json", report_path),
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy *" in done.stdout
    assert "Passed" in done.stdout
    report = json.loads(report_path.read_text(encoding="utf-8"))
    assert report["metrics"]["accuracy"]["drop_points"] == 25.0
    assert report["passed"] is True
    assert [path.name for path in report_path.parent.iterdir()] == ["validation.json"]


def test_a_gate_that_fails_is_status_1_and_the_report_is_written_all_the_same(run_cli: RunCli, work: Path) -> None:
    done = run_cli(
        *("validate", work / "baseline", work / "candidate", "--task", "sst2", "--data", work / "glue"),
        *("--max-drop", "24.9", "--json", work / "v.json", "--html", work / "v.html"),
    )
    assert done.returncode == 1, done.stderr
    assert "Failed" in done.stdout
    assert json.loads((work / "v.json").read_text(encoding="utf-8"))["passed"] is False
    assert "accuracy" in (work / "v.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("drops", "max_drop", "passed", "text"),
    [
        ({"cpu": 0.5, "cuda": 1.25}, None, True, "* accuracy drops by 1.25 points (cuda)."),
        ({"cpu": 0.5}, 1.0, True, "Passed: accuracy drops by 0.50 points (cpu); 1 is allowed."),
        (
            {"cpu": 0.75},
            1.0,
            True,
            "Passed: accuracy drops by 0.75 points (cpu); 1 is allowed, which lies within the 95 % interval of the drop, "
            "+0.35 … +1.15: more rows would tell.",
        ),
        ({"cpu": -0.5}, 0.0, True, "Passed: accuracy rises by 0.50 points (cpu); 0 is allowed."),
        ({"cpu": 2.0}, 1.5, False, "Failed: accuracy drops by 2.00 points (cpu); 1.5 is allowed."),
    ],
    ids=["no gate, the worst provider", "passed", "the interval crosses", "a gain", "failed"],
)
def test_the_verdict_is_one_sentence(drops: dict[str, float], max_drop: float | None, passed: bool, text: str) -> None:
    report = {
        "task": "sst2",
        "primary_metric": "accuracy",
        "providers": {
            provider: {"drop_points": drop, "drop_interval": [drop - 0.4, drop + 0.4]}
            for provider, drop in drops.items()
        },
        "max_drop": max_drop,
        "passed": passed,
    }
    assert verdict(report).plain == text


def test_json_on_standard_output_is_all_there_is(run_cli: RunCli, work: Path) -> None:
    done = run_cli("validate", work / "baseline", work / "candidate", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] is None
    assert done.stderr == ""


def test_robustness_is_in_the_table_the_json_and_the_page(run_cli: RunCli, work: Path) -> None:
    done = run_cli(
        *("validate", work / "baseline", work / "candidate", "--task", "sst2", "--data", work / "glue"),
        *("--robustness", "--json", work / "v.json", "--html", work / "v.html"),
    )
    assert done.returncode == 0, done.stderr
    assert "agreement by confidence" in done.stdout
    assert "Expected calibration error" in done.stdout
    assert "swap characters" in done.stdout
    assert json.loads((work / "v.json").read_text(encoding="utf-8"))["robustness"]["perturbed"]
    assert "swap characters" in (work / "v.html").read_text(encoding="utf-8")


def test_quiet_prints_nothing(run_cli: RunCli, work: Path) -> None:
    done = run_cli("validate", work / "baseline", work / "candidate", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_malformed_row_is_status_2_with_its_line_number_and_no_report(run_cli: RunCli, work: Path) -> None:
    with (work / "glue" / "SST-2" / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write("a sentence without a label\n")
    done = run_cli(
        *("validate", work / "baseline", work / "candidate", "--task", "sst2", "--data", work / "glue"),
        *("--json", work / "v.json"),
    )
    assert done.returncode == 2
    assert "dev.tsv line 6 has 1 fields; the header names 2" in done.stderr
    assert_one_sentence(done.stderr)
    assert not (work / "v.json").exists()


def test_a_missing_tokenizer_is_status_2(run_cli: RunCli, work: Path) -> None:
    (work / "baseline" / "tokenizer.json").unlink()
    (work / "candidate" / "tokenizer.json").unlink()
    done = run_cli("validate", work / "baseline", work / "candidate")
    assert done.returncode == 2
    assert "--tokenizer" in done.stderr
    assert_one_sentence(done.stderr)


def test_a_tokenizer_of_another_vocabulary_is_status_2(run_cli: RunCli, work: Path) -> None:
    write_classifier(work / "larger", {**SENTIMENT, "film": (0.0, 0.0)})
    done = run_cli("validate", work / "baseline", work / "candidate", "--tokenizer", work / "larger")
    assert done.returncode == 2
    assert "token ids up to 7, but" in done.stderr
    assert_one_sentence(done.stderr)


def test_a_task_of_other_labels_is_status_2(run_cli: RunCli, work: Path) -> None:
    (work / "glue" / "MNLI").mkdir()
    rows = "premise\thypothesis\tlabel\ngood\tbad\t2\n"
    (work / "glue" / "MNLI" / "dev.tsv").write_text(rows, encoding="utf-8")
    done = run_cli("validate", work / "baseline", work / "candidate", "--task", "mnli", "--data", work / "glue")
    assert done.returncode == 2
    assert "--task mnli has 3 labels (entailment, neutral, contradiction), but" in done.stderr
    assert_one_sentence(done.stderr)


def test_a_gate_without_a_task_is_status_2(run_cli: RunCli, work: Path) -> None:
    done = run_cli("validate", work / "baseline", work / "candidate", "--max-drop", "1")
    assert done.returncode == 2
    assert "--max-drop" in done.stderr
    assert_one_sentence(done.stderr)


def test_cuda_without_cuda_is_status_2_and_names_what_there_is(run_cli: RunCli, work: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    done = run_cli("validate", work / "baseline", work / "candidate", "--provider", "cpu", "--provider", "cuda")
    assert done.returncode == 2
    assert "this onnxruntime has no CUDAExecutionProvider, it offers" in done.stderr
    assert "CPUExecutionProvider" in done.stderr
    assert_one_sentence(done.stderr)


@pytest.mark.parametrize("content", [b"", b"no model"], ids=["an empty file", "no protobuf"])
def test_a_file_that_is_no_model_is_status_2(run_cli: RunCli, work: Path, content: bytes) -> None:
    (work / "candidate" / "model.onnx").write_bytes(content)
    done = run_cli("validate", work / "baseline", work / "candidate")
    assert done.returncode == 2
    assert "candidate/model.onnx" in done.stderr
    assert_one_sentence(done.stderr)
