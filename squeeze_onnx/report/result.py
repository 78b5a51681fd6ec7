"""The content of a report as Python has it: a dict that prints as a short line."""

from typing import Any

from squeeze_onnx.report.counted import certified_on
from squeeze_onnx.support.readable import readable_bytes
from squeeze_onnx.support.shown import Shown


class Report(Shown, dict[str, Any]):
    """The content of report.json or of ``analyze --json``, key by key; `to_json` returns it as plain values."""

    def summary(self) -> dict[str, str]:
        """Return what was done to which size."""
        size = self["size"]
        before, after = size["baseline_bytes"], size.get("optimized_bytes")
        if after is None:
            return {
                "size": readable_bytes(before),
                "weights": f"{len(self['sites'])} looked at, {len(self['skipped'])} not",
            }
        rewritten = sum(site["treatment"] != "dense" for site in self["sites"])
        told = {
            "size": f"{readable_bytes(before)} → {readable_bytes(after)} ({after / before:.0%})",
            "method": self["method"],
            "weights": f"{rewritten} of {len(self['sites'])} rewritten",
            "precision": self["precision"]["name"],
        }
        certificate = self.get("certificate")
        measured = certificate is not None and certificate["texts"]
        return told | {"measured on": certified_on(self) if measured else "nothing, no text was given"}

    def to_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return dict(self)
