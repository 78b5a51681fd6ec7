"""A number of a page that looks measured comes from a row, or is listed with what it is instead."""

import tomllib
from pathlib import Path

import pytest

from tests.docs.measured_numbers import numbers_of
from tests.docs.pages import PAGES, ROOT

STATED = tomllib.loads((Path(__file__).parent / "stated_numbers.toml").read_text(encoding="utf-8"))


def stated(page: str) -> list[str]:
    return [number for kind in STATED.values() for number in kind.get(page, ())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_number_that_looks_measured_has_a_row(page: Path) -> None:
    known = stated(page.relative_to(ROOT).as_posix())
    missing = [f"{page.name}:{number.line}: {number.around}" for number in numbers_of(page) if number.text not in known]
    assert missing == [], "quote its row (docs/testing.md, Measured numbers), or say in stated_numbers.toml what it is"


def test_what_is_listed_stands_on_its_page() -> None:
    for kind in STATED.values():
        for page, numbers in kind.items():
            assert set(numbers) <= {number.text for number in numbers_of(ROOT / page)}, page


def test_scores_sizes_times_and_ratios_are_seen_and_rows_code_and_settings_are_not(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "It has 0.8667 in 17.6 MB, 1.97 times as fast, 61 and 48 % of it, in 5 s; 2× and −0.12.\n\n"
        "<!-- row: a/b/c candidate -->0.5123<!-- /row --> at keep 0.75 with its 95 % interval, `0.123`, 1 × 128.\n\n"
        "```bash\nsleep 1.234\n```\n\n<!-- some table: begin -->\n| 0.9999 |\n<!-- some table: end -->\n",
        encoding="utf-8",
    )
    found = [number.text for number in numbers_of(page)]
    assert found == ["0.8667", "17.6 MB", "1.97 times", "61 and 48 %", "5 s", "2×", "−0.12"]
