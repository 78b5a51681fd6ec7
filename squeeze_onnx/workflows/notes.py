"""What to know of a result without reading further: that the choice was weak, text short, a budget not one of the file."""

from collections.abc import Iterator, Mapping
from typing import Any

from squeeze_onnx.compress.enough_text import short_of_text
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.workflows.decoder_cache import notes_on_cache

_FAR = 0.1
"""How much more of a file than of the eligible parameters has to stay to be worth a word."""


def notes_of(report: Mapping[str, Any], survey: Survey) -> list[str]:
    """Return sentences about the model of ``report``, the content of report.json so far, that ``survey`` was taken of."""
    return [*_on_the_method(report), *_on_the_text(survey), *_on_the_file(report), *notes_on_cache(report, survey)]


def _on_the_method(report: Mapping[str, Any]) -> Iterator[str]:
    cut = report["size"]["kept_eligible_parameters"] < report["size"]["eligible_parameters"]
    if cut and not METHODS[report["method"]].needs_calibration:
        yield (
            f"Weak choice: {report['method']} looks at no text, only at the entries of each weight, and loses far more than "
            "methods that read some; give sentences of the kind that the model reads in use with `calibration` FILE, or take "
            "those of this package with `calibration` general:en (or general:all)."
        )


def _on_the_text(survey: Survey) -> Iterator[str]:
    short = short_of_text(survey.sites, survey.moments)
    if short is not None:
        yield short


def _on_the_file(report: Mapping[str, Any]) -> Iterator[str]:
    """Say why the file is larger than a budget of the eligible parameters sounds."""
    size, budget, words = report["size"], report["budget"], report["vocabulary"]
    eligible, whole, dense = size["eligible_parameters"], size["baseline_parameters"], size["baseline_bytes"]
    if words is not None:
        whole, dense = (words[what]["after"] for what in ("parameters", "bytes"))
    file, kept = size["optimized_bytes"] / dense, size["kept_eligible_parameters"] / eligible
    if "objective" in budget or file < kept + _FAR:
        return
    rest = f"{(whole - eligible) / 1e6:.1f} M parameters, {1 - eligible / whole:.0%} of the model"
    tables = any(site["role"] == Role.EMBEDDING for site in report["sites"])
    rounds = "`precision` int8 makes these smaller too, " if report["precision"]["name"] in ("fp32", "fp16") else ""
    takes = "" if tables else "`include` embedding squeezes tables, "
    yield (
        f"The file is {file:.0%} of what it was though {kept:.0%} of the eligible parameters stay: "
        f"{'what' if tables else 'embedding tables and what else'} is not eligible ({rest}) stays whole. {rounds}{takes}"
        f"{'and ' if rounds or takes else ''}`objective` size makes `keep` a fraction of the file."
    )
