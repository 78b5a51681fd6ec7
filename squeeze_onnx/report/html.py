"""HTML reports: pure functions of the JSON reports. One self-contained file each, no network.

Tables are made here, drawings in the reader's browser by Apache ECharts from the values of `squeeze_onnx.report.charts`, which go
along as a block of JSON. A content security policy names the page's own scripts by their hashes and allows nothing else: no
request, and no script that came in with the name of a node.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from squeeze_onnx.evaluate.metrics import unit_of, worsening_of
from squeeze_onnx.report.charts import analysis_charts, optimization_charts, validation_charts
from squeeze_onnx.report.counted import certified_on, what_was_read
from squeeze_onnx.report.noise_by_role import NOISE_NOTE, noise_by_role

_SCRIPTS = ("echarts.min.js", "report.js")


def render_optimization(report: Mapping[str, Any]) -> str:
    """Render the ``report.json`` of `optimize`."""
    return _render("optimization.html.j2", report, optimization_charts(report))


def render_analysis(report: Mapping[str, Any]) -> str:
    """Render the JSON of `analyze`."""
    return _render(
        "analysis.html.j2", report, analysis_charts(report), noise=noise_by_role(report), noise_note=NOISE_NOTE
    )


def render_validation(report: Mapping[str, Any]) -> str:
    """Render the JSON of `validate`."""
    return _render("validation.html.j2", report, validation_charts(report))


def _render(template: str, report: Mapping[str, Any], charts: Mapping[str, Any], **more: object) -> str:
    scripts = [_asset(name) for name in _SCRIPTS]
    return (
        _environment()
        .get_template(template)
        .render(
            report=report,
            data=_inert_json(charts),
            style=Markup(_asset("report.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
            **more,
        )
    )


def _inert_json(document: Mapping[str, Any]) -> Markup:
    """Return ``document`` as JSON in which nothing can end the element that it stands in, or begin another."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"}))


def _policy(scripts: list[str]) -> str:
    """Return the content security policy of a page that runs ``scripts`` and nothing else."""
    hashes = (b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    closed = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{closed}; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


@cache
def _asset(name: str) -> str:
    return (files("squeeze_onnx.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("squeeze_onnx.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["megabytes"] = lambda count: f"{count / 1e6:,.1f} MB"
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f} %"
    environment.filters["change"] = _change
    environment.filters["certified_on"] = certified_on
    environment.filters["what_was_read"] = what_was_read
    environment.filters["worsening"] = lambda metric: worsening_of(metric or "accuracy")
    environment.filters["unit"] = lambda metric: unit_of(metric or "accuracy")
    return environment


def _change(after: float, before: float) -> str:
    """Return by how much ``after`` differs from ``before``, in percent and with its sign."""
    change = 100 * (after / before - 1)
    return f"{'+' if change > 0 else '−' if change < 0 else ''}{abs(change):.1f} %"
