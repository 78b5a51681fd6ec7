"""Tables of README and docs that a script makes: what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""

import re
from collections.abc import Iterable
from pathlib import Path

import click


def put_table(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace what stands between the markers of ``name`` in ``page``."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found = re.search(f"{begin}.*?{end}", text, flags=re.DOTALL)
    if found is None:
        raise click.ClickException(f"{page} has no {begin} … {end}")
    body = "\n".join(lines)
    page.write_text(text[: found.start()] + f"{begin}\n{body}\n{end}" + text[found.end() :], encoding="utf-8")
