"""Pages say what rows do: tables, and numbers in sentences."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tools.test_rows import ROW
from tools import pages
from tools.page_forms import form
from tools.page_tables import TABLES, Table
from tools.provenance_line import provenance_line
from tools.row_files import ROOT, all_rows, keep
from tools.rows import Machine

QUOTE = "half has <!-- row: tiny/quality/half candidate -->{}<!-- /row --> of it\n"


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_what_the_rows_do(page: Path) -> None:
    assert pages.filled(page, all_rows()) == page.read_text(encoding="utf-8"), "python -m tools.pages"


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_begins_with_a_comment_that_would_end_its_paragraph(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"\s*<!-- /?row", line)] == []


def test_every_table_is_made_of_rows() -> None:
    assert [table.marker for table in TABLES if not list(table.rows())] == []


def test_a_number_in_a_sentence_is_filled_in(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(QUOTE.format("0.1"), encoding="utf-8")
    assert pages.filled(page, {ROW.name: ROW}, tmp_path) == QUOTE.format("0.9000")


def test_a_row_that_is_not_there_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(QUOTE.format("0.1"), encoding="utf-8")
    with pytest.raises(KeyError, match=r"page\.md quotes the row tiny/quality/half"):
        pages.filled(page, {}, tmp_path)


def test_a_key_that_nobody_knows_how_to_write_is_named() -> None:
    with pytest.raises(KeyError, match=r"how to write size\.parameters"):
        form(ROW, "size.parameters")


def test_a_table_needs_its_markers(tmp_path: Path) -> None:
    table = Table("page.md", "small", lambda: ["| a |"], lambda: [ROW])
    filled = pages.with_table("<!-- small: begin -->\nold\n<!-- small: end -->\n", table, tmp_path)
    assert filled.startswith("<!-- small: begin -->\n| a |\n\n<sub>1 row, commit 0000000, 2026-11-29; A processor")
    assert filled.endswith("</sub>\n<!-- small: end -->\n")
    with pytest.raises(ValueError, match="has no <!-- small: begin -->"):
        pages.with_table("no markers", table, tmp_path)


def test_the_line_below_a_table_says_what_was_not_written_down() -> None:
    old = replace(ROW, machine=Machine(), origin="recorded", date="2026-11-22", versions={})
    told = provenance_line([ROW, old, replace(ROW, commit="1" * 40, origin="changed")])
    assert "3 rows, commit 0000000, 1111111 (changed), 2026-11-22 to 2026-11-29" in told
    assert "A processor (2 cores, 1 thread; avx2 fma); processor not written down" in told
    assert "ONNX Runtime 1.32.0." in told


def test_which_pages_quote_a_row_is_known(tmp_path: Path) -> None:
    keep([ROW], tmp_path)
    (tmp_path / "docs").mkdir()
    for name, text in (("README.md", "nothing\n"), ("docs/page.md", QUOTE)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert pages.pages_of({ROW.name: ROW}, tmp_path) == {ROW.name: ["docs/page.md"]}


def test_pages_that_are_in_step_pass() -> None:
    done = CliRunner().invoke(pages.main, ["--check"])
    assert done.exit_code == 0, done.output
