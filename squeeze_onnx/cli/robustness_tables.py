"""The robustness in the JSON of `validate` for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from squeeze_onnx.cli.console import plain_table


def robustness_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of every provider whose robustness was measured."""
    for provider, entry in report["providers"].items():
        found = entry["robustness"]
        if found is not None:
            yield likeness_table(provider, found)
            if found["perturbed"]:
                yield perturbation_table(provider, report["primary_metric"], found)


def likeness_table(provider: str, found: Mapping[str, Any]) -> Table:
    """One row a tenth of the texts, and what is known of the calibration error."""
    likeness = found["likeness"]
    by, measure = likeness["by"], likeness["measure"].replace("_", " ")
    table = plain_table(f"{provider}: {measure} by {by}, in tenths of the texts", [by], ["texts", measure])
    for group in likeness["groups"]:
        table.add_row(f"{group['low']:.3f} … {group['high']:.3f}", str(group["texts"]), f"{group['likeness']:.4f}")
    table.caption = calibration_sentence(found)
    table.caption_justify = "left"
    return table


def calibration_sentence(found: Mapping[str, Any]) -> str:
    """Say how far confidence is from accuracy, or why that is not known."""
    errors = found["calibration_error"]
    if errors is None:
        return f"Calibration error: {found['absent']['calibration_error']}."
    return f"Expected calibration error: {errors['baseline']:.4f} → {errors['candidate']:.4f}."


def perturbation_table(provider: str, metric: str, found: Mapping[str, Any]) -> Table:
    """One row a perturbation and level; the texts as they are come first."""
    table = plain_table(
        f"{provider}: {metric} on perturbed texts",
        ["perturbation"],
        ["places changed", "baseline", "candidate", "drop in points"],
    )
    for score in found["perturbed"]:
        table.add_row(
            score["perturbation"].replace("_", " "),
            f"{100 * score['level']:g} %",
            f"{score['baseline']:.4f}",
            f"{score['candidate']:.4f}",
            f"{score['drop_points']:+.2f}",
        )
    return table
