import pytest

from squeeze_onnx.data.glue import TASKS, find_task
from squeeze_onnx.support.errors import OptionError


def test_there_are_the_nine_tasks_of_glue() -> None:
    assert set(TASKS) == {"sst2", "mrpc", "rte", "cola", "stsb", "qnli", "qqp", "mnli", "wnli"}


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("sst2", {"accuracy"}),
        ("mrpc", {"accuracy", "f1"}),
        ("rte", {"accuracy"}),
        ("cola", {"matthews"}),
        ("stsb", {"pearson", "spearman"}),
        ("qnli", {"accuracy"}),
        ("qqp", {"accuracy", "f1"}),
        ("mnli", {"accuracy"}),
        ("wnli", {"accuracy"}),
    ],
)
def test_each_task_has_its_official_metrics_and_one_of_them_is_primary(name: str, metrics: set[str]) -> None:
    assert set(TASKS[name].metrics) == metrics
    assert TASKS[name].primary_metric in metrics


def test_the_two_entailment_tasks_with_opposite_label_orders_are_told_apart() -> None:
    assert TASKS["rte"].labels == ("entailment", "not_entailment")
    assert TASKS["wnli"].labels == ("not_entailment", "entailment")


def test_mnli_is_scored_on_matched_and_mismatched() -> None:
    assert [split.name for split in TASKS["mnli"].splits] == ["validation_matched", "validation_mismatched"]


@pytest.mark.parametrize("spelling", ["sst2", "SST-2", "sst_2", "Sst2"])
def test_a_task_is_found_however_it_is_spelled(spelling: str) -> None:
    assert find_task(spelling).name == "sst2"


def test_an_unknown_task_is_refused_with_all_nine_names() -> None:
    with pytest.raises(OptionError, match=r"sst2, mrpc, rte, cola, stsb, qnli, qqp, mnli, wnli; got 'squad'"):
        find_task("squad")
