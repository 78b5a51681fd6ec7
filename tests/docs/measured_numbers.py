"""Numbers of a page that look measured, stand in no table of rows and quote no row: scores, sizes, times, shares, ratios."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HIDDEN = (
    re.compile(r"<!-- (?P<table>[\w ]+): begin -->.*?<!-- (?P=table): end -->", re.DOTALL),
    re.compile(r"<!-- row: \S+ \S+ -->.*?<!-- /row -->", re.DOTALL),
    re.compile(r"^(?P<indent> *)(?P<fence>```+|~~~+).*?^(?P=indent)(?P=fence)$", re.DOTALL | re.MULTILINE),
    re.compile(r"^    .*$", re.MULTILINE),
    re.compile(r"(?P<ticks>`+).*?(?P=ticks)", re.DOTALL),
    re.compile(r"\]\([^)]*\)"),
    re.compile(r"arXiv \d+\.\d+(, \d+\.\d+)*|doi \S+"),
    re.compile(r"<!--.*?-->", re.DOTALL),
)
"""What is no claim: generated tables, quoted rows, code, addresses, comments."""

_UNITS = r"%|×|points?|times|MB|GB|GiB|KiB|MiB|ms|s|d|h|min|seconds|minutes|hours"
_NUMBER = r"[-−]?\d[\d,]*(?:\.\d+)?"
_MEASURED = re.compile(
    rf"(?<![\w.§/=-])(?:{_NUMBER}(?:(?:–| … | to | and |, | or ){_NUMBER})* (?:{_UNITS})(?! ?\d)(?!\w)"
    rf"|{_NUMBER}×(?! ?\d)|[-−]?\d+\.\d\d+)"
)
_SETTING = re.compile(r"(?:keep|at|and|or|,) 0\.(?:75|33|25)\b|95 %|Python ≥ \S+|arXiv\s+\S+|\d+\.\d+\.\d+|\d+ × \d+")
"""Budgets, the level of intervals, versions, papers and shapes."""


@dataclass(frozen=True)
class Number:
    """A number with its unit, at a ``line`` of a page, and the words around it."""

    text: str
    line: int
    around: str


def numbers_of(page: Path) -> Iterator[Number]:
    """Yield the numbers of ``page`` that look measured."""
    text = page.read_text(encoding="utf-8")
    for pattern in (*_HIDDEN, _SETTING):
        text = pattern.sub(lambda found: re.sub(r"[^\n]", "~", found[0]), text)
    for found in _MEASURED.finditer(text):
        around = text[max(found.start() - 50, 0) : found.end() + 30].replace("\n", " ")
        yield Number(found[0], text.count("\n", 0, found.start()) + 1, around)
