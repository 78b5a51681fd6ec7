"""HTML reports: functions of the JSON alone, self-contained, and no way in for what a model calls its nodes."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import jinja2
import pytest

from squeeze_onnx.report.charts import optimization_charts
from squeeze_onnx.report.html import render_analysis, render_optimization
from squeeze_onnx.spectral.rmt.histogram import BULK_BINS, MOST_BINS
from tests.report.conftest import Report
from tests.tiny_encoder import ELIGIBLE_SITES

SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
CODE = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
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
def pages(analysis: Report, optimization: Report) -> list[str]:
    return [render_analysis(analysis), render_optimization(optimization)]


def test_pages_show_every_site_and_every_reason(pages: list[str]) -> None:
    for page in pages:
        assert all(site in page for site in ELIGIBLE_SITES)
        assert "role classifier is not eligible here; `include` classifier takes it in" in page


def test_pages_are_whole_and_load_nothing(pages: list[str]) -> None:
    for page in pages:
        assert tags(page) >= {"html", "head", "title", "body", "table"}
        assert not tags(page) & {"link", "img", "iframe", "object"}
        assert not re.search(r"""<[^>]*\b(src|href)\s*=|@import|url\(""", CODE.sub("", page))


def test_names_from_the_model_stay_text(pages: list[str]) -> None:
    for page in pages:
        assert "<script>window" not in page
        assert "&lt;script&gt;window.owned=1" in page
        assert "\\u003cscript\\u003ewindow.owned=1" in page
        assert "{{ 7 * 7 }}" in page


def test_the_data_of_the_drawings_is_the_report_s(optimization: Report) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', render_optimization(optimization))
    assert found
    assert json.loads(found[1]) == json.loads(json.dumps(optimization_charts(optimization)))


def test_the_policy_names_the_scripts_of_the_page_by_their_hashes(pages: list[str]) -> None:
    for page in pages:
        hashes = [b64encode(sha256(code.encode()).digest()).decode() for code in re.findall(SCRIPT, page)]
        assert len(hashes) == 2
        assert all(f"sha256-{digest}" in page for digest in hashes)


def test_a_page_of_72_sites_is_small_enough(optimization: Report) -> None:
    site = optimization["sites"][0]
    histogram = {"bin_width": 1.4696938456, "counts": [100] * MOST_BINS, "expected": [12.345] * BULK_BINS, "beyond": 12}
    curve = {"ranks": list(range(100, 133)), "energy": [0.98765] * 33}
    spectrum = site["spectrum"] | {"histogram": histogram | {"largest": 1234.56789}, "energy_curve": curve}
    sites = [site | {"name": f"/encoder/layer.{layer}/a/b/c/MatMul", "spectrum": spectrum} for layer in range(72)]
    report = optimization | {"sites": sites}
    assert len(json.dumps(report, indent=2)) < 600_000
    assert len(render_optimization(report).encode()) < 1_500_000


def test_the_page_says_what_stays(optimization: Report) -> None:
    size = {"eligible_parameters": 1000, "kept_eligible_parameters": 505, "baseline_bytes": 2e6, "optimized_bytes": 1e6}
    page = render_optimization(optimization | {"size": optimization["size"] | size})
    assert "12 of 12 eligible weights" in page
    assert "50.5 % of their parameters stay" in page
    assert "2.0 MB" in page
    assert (
        f"<title>model, squeezed by {optimization['method']}, {optimization['created'][:10]} · squeeze_onnx</title>"
        in page
    )
    assert "No score was measured" in page
    assert all(note in page for note in optimization["notes"])


def test_the_page_shows_what_a_search_tried(optimization: Report, search: Report) -> None:
    assert "<h3>Search</h3>" not in render_optimization(optimization)
    page = render_optimization(optimization | {"search": search})
    assert tags(page) >= {"table"}
    assert [page.count(cell) for cell in ("<td>train</td>", "<td>validation (gate)</td>", "too much")] == [2, 1, 1]
    assert "<td>1.25</td><td>0.50 … 2.00</td>" in page
    assert "no train split" not in page
    assert "0.8100" in page and "0.9000 before; drop 0.75 points" in page
    same = search | {"selection": search["gate"]}
    assert "no train split: budget and gate saw the same rows" in render_optimization(optimization | {"search": same})


def test_a_report_that_lacks_something_is_not_rendered_as_if_it_were_whole(optimization: Report) -> None:
    with pytest.raises(jinja2.UndefinedError, match="size"):
        render_optimization({key: value for key, value in optimization.items() if key != "size"})
