"""HTML reports: pure functions of the JSON reports. One self-contained file each, no network."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_optimization(report: Mapping[str, Any]) -> str:
    """Render the ``report.json`` of `optimize`."""
    return _render("optimization.html.j2", report)


def render_analysis(report: Mapping[str, Any]) -> str:
    """Render the JSON of `analyze`."""
    return _render("analysis.html.j2", report)


def render_validation(report: Mapping[str, Any]) -> str:
    """Render the JSON of `validate`."""
    return _render("validation.html.j2", report)


def _render(template: str, report: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=PackageLoader("squeeze_onnx.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["megabytes"] = lambda count: f"{count / 1e6:,.1f} MB"
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f} %"
    return environment.get_template(template).render(report=report)
