"""The cover covers: every pair that may be, nothing that may not, and few rows."""

from itertools import product

import pytest

from tests.cli.matrix.pairwise import Forbidden, completed, pairs, pairwise

FACTORS = {"a": ("1", "2", "3"), "b": ("1", "2", "3"), "c": ("1", "2"), "d": ("1", "2")}
FORBIDDEN = (
    Forbidden({"a": frozenset({"1"}), "b": frozenset({"2", "3"})}, ""),
    Forbidden({"b": frozenset({"1"}), "c": frozenset({"2"}), "d": frozenset({"1"})}, ""),
)


def test_every_pair_stands_in_a_row() -> None:
    rows = pairwise(FACTORS)
    for pair in pairs(FACTORS):
        assert any(all(row[factor] == level for factor, level in pair) for row in rows)
    assert len(rows) <= 11  # nine at least


def test_rows_have_nothing_that_is_forbidden_and_every_pair_that_is_not() -> None:
    rows = pairwise(FACTORS, FORBIDDEN)
    assert not any(each.breaks(row) for each in FORBIDDEN for row in rows)
    for pair in pairs(FACTORS):
        assert is_possible(dict(pair)) == any(all(row[factor] == level for factor, level in pair) for row in rows)


def is_possible(part: dict[str, str]) -> bool:
    """Whether some row has ``part``: all of them are looked at."""
    rows = (dict(zip(FACTORS, levels, strict=True)) for levels in product(*FACTORS.values()))
    allowed = (row for row in rows if not any(each.breaks(row) for each in FORBIDDEN))
    return any(row | part == row for row in allowed)


def test_a_part_that_no_row_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="no row has"):
        completed({"a": "1", "b": "2"}, FACTORS, FORBIDDEN)


def test_the_rows_are_the_same_each_time() -> None:
    assert pairwise(FACTORS, FORBIDDEN) == pairwise(FACTORS, FORBIDDEN)
