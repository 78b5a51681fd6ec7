"""HTML reports: functions of the JSON alone, self-contained, and no way in for what a model calls its nodes."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest

from squeeze_onnx.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.pipeline import analyze, optimize
from squeeze_onnx.report.html import render_analysis, render_optimization
from tests.tiny_encoder import ELIGIBLE_SITES, encoder_model, write_model_folder

NASTY = "<script>alert('x')</script>&\"{{ 7 * 7 }}"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Collects the tags of a page; every one that opens must close, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> set[str]:
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    return balance.seen


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = encoder_model(classifier=True)
    for node in model.graph.node:
        if node.name in ("layer.0/query", "pooler"):
            node.name = f"{NASTY}{node.name}"
    return write_model_folder(tmp_path_factory.mktemp("html") / "model", model)


@pytest.fixture(scope="module")
def optimization(model: Path) -> dict[str, Any]:
    return optimize(model, model.with_name("out"), OptimizeConfig(keep=0.5, simulations=1))


@pytest.fixture(scope="module")
def pages(model: Path, optimization: dict[str, Any]) -> list[str]:
    return [render_analysis(analyze(model, AnalyzeConfig(simulations=1))), render_optimization(optimization)]


def test_pages_show_every_site_and_every_reason(pages: list[str]) -> None:
    for page in pages:
        assert all(site in page for site in ELIGIBLE_SITES)
        assert "role classifier is not eligible here; --include classifier takes it in" in page


def test_pages_are_whole_and_load_nothing(pages: list[str]) -> None:
    for page in pages:
        assert tags(page) >= {"html", "head", "title", "body", "table"}
        assert not tags(page) & {"script", "link", "img", "iframe"}
        assert not re.search(r"(src|href|url\()", page)


def test_names_from_the_model_stay_text(pages: list[str]) -> None:
    for page in pages:
        assert "&lt;script&gt;" in page
        assert "{{ 7 * 7 }}" in page


def test_the_page_says_what_stays(optimization: dict[str, Any]) -> None:
    size = {"eligible_parameters": 1000, "kept_eligible_parameters": 505, "baseline_bytes": 2e6, "optimized_bytes": 1e6}
    page = render_optimization(optimization | {"size": optimization["size"] | size})
    assert "12 of 12 eligible weights" in page
    assert "50.5 % of their parameters stay" in page
    assert "2.0 MB" in page


def test_the_page_shows_what_a_search_tried(optimization: dict[str, Any]) -> None:
    point = {
        "keep": 0.5,
        "metric": 0.81,
        "drop_points": 1.25,
        "drop_interval": [0.5, 2.0],
        "bytes": 3e6,
        "passed": False,
    }
    passing = point | {"keep": 0.52, "drop_points": 0.75, "passed": True}
    search = {
        "task": "stsb",
        "primary_metric": "spearman",
        "max_drop": 1.0,
        "selection": {"split": "train", "rows": 700, "baseline": 0.8, "points": [point, passing]},
        "gate": {"split": "validation", "rows": 300, "baseline": 0.9, "points": [passing]},
    }
    assert "<h2>Search</h2>" not in render_optimization(optimization)
    page = render_optimization(optimization | {"search": search})
    assert tags(page) >= {"table"}
    assert [page.count(cell) for cell in ("<td>train</td>", "<td>validation (gate)</td>", "too much")] == [2, 1, 1]
    assert "<td>1.25</td><td>0.50 … 2.00</td>" in page
    assert "no train split" not in page
    same = search | {"selection": search["gate"]}
    assert "no train split: budget and gate saw the same rows" in render_optimization(optimization | {"search": same})


def test_a_report_that_lacks_something_is_not_rendered_as_if_it_were_whole(optimization: dict[str, Any]) -> None:
    with pytest.raises(jinja2.UndefinedError, match="size"):
        render_optimization({key: value for key, value in optimization.items() if key != "size"})
