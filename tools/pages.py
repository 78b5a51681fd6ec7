"""Numbers of the pages, filled in from rows: tables between markers, and numbers in sentences.

    python -m tools.pages            fills all of them in
    python -m tools.pages --check    says what is not as the rows have it; exit status 1 then

A table stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``. A number in a sentence names its row and the key of
its value: ``<!-- row: minilm-l6/quality/whiten-keep-0.5 candidate -->0.8667<!-- /row -->``. A row that is not there is an error.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from tools.page_forms import form
from tools.page_tables import TABLES, Table
from tools.provenance_line import provenance_line
from tools.row_files import ROOT, all_rows
from tools.rows import Row

_QUOTE = re.compile(r"<!-- row: (?P<name>\S+) (?P<key>\S+) -->(?P<text>.*?)<!-- /row -->", re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """Return every page that may hold a measured number."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md")), *sorted((root / "models").glob("*/README.md"))]


def filled(page: Path, rows: Mapping[str, Row], root: Path = ROOT) -> str:
    """Return the text of ``page`` with all its numbers as ``rows`` have them. Raises KeyError for a row that is not there."""
    text = page.read_text(encoding="utf-8")
    for table in tables_of(page, root):
        text = with_table(text, table, page)
    return _QUOTE.sub(lambda found: _quote(found, rows, page), text)


def tables_of(page: Path, root: Path = ROOT) -> list[Table]:
    """Return the tables that stand on ``page``."""
    return [table for table in TABLES if root / table.page == page]


def with_table(text: str, table: Table, page: Path) -> str:
    """Return ``text`` with ``table`` between its markers. Raises ValueError if they are not there."""
    begin, end = f"<!-- {table.marker}: begin -->", f"<!-- {table.marker}: end -->"
    found = re.search(f"{re.escape(begin)}.*?{re.escape(end)}", text, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"{page} has no {begin} … {end}")
    body = "\n".join(table.lines()).strip("\n")
    told = provenance_line(table.rows())
    return f"{text[: found.start()]}{begin}\n{body}\n\n{told}\n{end}{text[found.end() :]}"


def rows_on(page: Path, rows: Mapping[str, Row], root: Path = ROOT) -> dict[str, Row]:
    """Return which of ``rows`` the ``page`` quotes, in tables or in sentences, by name."""
    quoted = [found["name"] for found in _QUOTE.finditer(page.read_text(encoding="utf-8"))]
    shown = [row.name for table in tables_of(page, root) for row in table.rows()]
    return {name: rows[name] for name in dict.fromkeys([*quoted, *shown]) if name in rows}


def pages_of(rows: Mapping[str, Row], root: Path = ROOT) -> dict[str, list[str]]:
    """Return which pages quote each row, as paths in the repository."""
    found: dict[str, list[str]] = {name: [] for name in rows}
    for page in pages(root):
        for name in rows_on(page, rows, root):
            found[name].append(page.relative_to(root).as_posix())
    return found


def _quote(found: re.Match[str], rows: Mapping[str, Row], page: Path) -> str:
    if found["name"] not in rows:
        raise KeyError(f"{page} quotes the row {found['name']}, which is not there")
    number = form(rows[found["name"]], found["key"])
    return f"<!-- row: {found['name']} {found['key']} -->{number}<!-- /row -->"


def out_of_step(root: Path = ROOT) -> Iterator[Path]:
    """Yield the pages that do not say what the rows do."""
    rows = all_rows(root)
    for page in pages(root):
        if filled(page, rows, root) != page.read_text(encoding="utf-8"):
            yield page


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if a page is not as the rows have it.")
def main(check: bool) -> None:
    """Fill in the numbers of all pages."""
    rows = all_rows()
    for page in list(out_of_step()):
        click.echo(page.relative_to(ROOT))
        if not check:
            page.write_text(filled(page, rows), encoding="utf-8")
    if check and list(out_of_step()):
        raise click.ClickException("these pages do not say what the rows do: python -m tools.pages")


if __name__ == "__main__":
    main()
