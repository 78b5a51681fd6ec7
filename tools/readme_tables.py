"""Tables of the README that a script makes: what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""

import re
from collections.abc import Iterable
from pathlib import Path

import click


def put_table(readme: Path, name: str, lines: Iterable[str]) -> None:
    """Replace what stands between the markers of ``name`` in ``readme``."""
    text = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found = re.search(f"{begin}.*?{end}", text, flags=re.DOTALL)
    if found is None:
        raise click.ClickException(f"{readme} has no {begin} … {end}")
    body = "\n".join(lines)
    readme.write_text(text[: found.start()] + f"{begin}\n{body}\n{end}" + text[found.end() :], encoding="utf-8")
