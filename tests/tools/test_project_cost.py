"""The projection of what many machines take: it finds the law that costs follow, and shares work out as a scheduler does."""

import pytest

from tools.project_cost import ARCHITECTURES, SHAPES, CostModel, SiteCost, makespan, rows


def cost(shape: tuple[int, int]) -> SiteCost:
    small, large = sorted(shape)
    return SiteCost(shape, 3e-7 * small**2, 1e-9 * small**2 * large, 2e-9 * small**3, 40 * small * large)


def test_the_fit_finds_the_law_that_the_costs_follow() -> None:
    model = CostModel.fitted([cost(shape) for shape in SHAPES])
    assert model.largest_miss < 1e-9
    assert model.bytes_per_entry == 40
    expected = cost((8192, 1024))
    assert model.seconds((8192, 1024)) == pytest.approx(expected.analyze_seconds + expected.factor_seconds)
    assert model.noise_seconds([(8192, 1024), (1024, 8192)]) == pytest.approx(expected.noise_seconds)


@pytest.mark.parametrize(("workers", "expected"), [(1, 7), (2, 4), (3, 3), (9, 3)])
def test_a_free_worker_takes_the_next_weight(workers: int, expected: float) -> None:
    assert makespan([3, 1, 1, 2], workers) == expected


def test_the_weights_of_the_layers_are_most_of_the_models() -> None:
    billions = [sum(size * other for size, other in architecture.sites) / 1e9 for architecture in ARCHITECTURES]
    assert billions == pytest.approx([6.5, 68.5, 400], rel=0.02)


def test_the_table_has_a_row_for_each_model_and_a_cell_for_each_heading() -> None:
    heading, line, *found = rows(CostModel.fitted([cost(shape) for shape in SHAPES]))
    assert len(found) == len(ARCHITECTURES)
    assert {row.count("|") for row in (heading, line, *found)} == {heading.count("|")}
