"""The code blocks of the documentation and of the README: what they hold, and why some are not run.

A block is run unless an HTML comment directly before it says otherwise, ``<!-- not run: needs the hub -->``.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

EXCUSES = {
    "needs the hub",
    "needs a package index",
    "needs a GPU",
    "needs a cluster",
    "needs Olive",
    "takes hours",
    "runs these tests",
}
"""Why a block may not be run here. No other reason counts."""

_COMMENT = re.compile(r"<!-- not run: (?P<excuse>[^>]*?) -->\s*")
_SNIPPET = re.compile(r'--8<-- "(?P<path>[^"]+)"\s*')


@dataclass(frozen=True)
class Block:
    """A block of ``code`` in ``language`` that begins at a ``line`` of ``page``.

    title: the file that it is the content of.
    excuse: why it is not run; None if it is.
    """

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    excuse: str | None

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def snippet(self) -> Path | None:
        """The file of the repository that it shows, if it is nothing but that."""
        found = _SNIPPET.fullmatch(self.code)
        return None if found is None else ROOT / found["path"]

    @property
    def commands(self) -> list[str]:
        """The commands of a block of bash, continued lines joined."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if shlex.split(line, comments=True)]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of ``page``; indented ones are bash."""
    excuse = None
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            language, _, options = token.info.partition(" ")
            title = re.search('title="([^"]+)"', options)
            assert token.map is not None
            yield Block(
                page,
                token.map[0] + 1,
                "bash" if token.type == "code_block" else language,
                title and title[1],
                token.content,
                excuse,
            )
        comment = _COMMENT.fullmatch(token.content) if token.type == "html_block" else None
        excuse = comment and comment["excuse"]


def blocks(*, excused: bool) -> list[Block]:
    """Return the blocks of all pages that are not run (``excused``), or those that are."""
    return [block for page in PAGES for block in blocks_of(page) if (block.excuse is not None) == excused]
