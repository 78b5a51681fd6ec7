"""Operations of the stages, on shapes for which they can be counted by hand."""

import pytest

from tools.bench_stages import operations_markdown, product_speed
from tools.row_files import ROOT
from tools.stage_operations import STAGES, Weight, Work

ONE = Work(
    [Weight("x", 4, 6, 0), Weight("x", 4, 6, 0), Weight("y", 6, 4, 0)], tokens=10, squared_lengths=50.0, blocks=1
)


def test_a_pass_and_the_moments_of_what_is_read_once() -> None:
    forward = 2 * (24 + 24 + 24) * 10 + 4 * 4 * 50 * 1
    assert ONE.forward == forward
    assert ONE.read == [4, 6]
    assert ONE.operations(0.5)["calibration"] == forward + (16 + 36) * 10
    assert ONE.operations(0.5)["fisher"] == 2 * forward + (36 + 36 + 16) * 10


def test_shapes_of_bert_read_four_values_a_layer() -> None:
    work = Work.of_shapes(layers=2, hidden=8, inner=32, texts=3, length=5)
    assert work.layers == 2
    assert sorted(work.read) == [8] * 6 + [32] * 2
    assert work.forward == 2 * 2 * (4 * 64 + 2 * 256) * 15 + 4 * 8 * 75 * 2


@pytest.mark.parametrize("stage", STAGES)
def test_what_stays_costs_no_less_than_what_is_cut(stage: str) -> None:
    assert ONE.operations(0.75)[stage] >= ONE.operations(0.25)[stage] > 0


def test_the_table_on_paper_has_a_line_for_each_shape() -> None:
    lines = list(operations_markdown())
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 12 × 768/3072", "| 24 × 1024/4096"]
    assert len({line.count("|") for line in lines}) == 1


def test_the_page_has_that_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "\n".join(operations_markdown()) in page


def test_a_speed_is_measured() -> None:
    assert product_speed() > 0
