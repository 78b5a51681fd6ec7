"""What was chosen for a goal, and what a dry run predicts, for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from squeeze_onnx.support.readable import readable_bytes


def goal_lines(goal: Mapping[str, Any]) -> Iterator[str]:
    """Say which precisions a size was looked for in, and the command that leaves nothing open."""
    size = goal["size"]
    if size is not None:
        told = "; ".join(map(_form, size["forms"]))
        yield f"For {readable_bytes(size['max_size'])} precision {size['precision']} was chosen, by predicted damage: {told}"
    yield f"Effort {goal['effort']} came to: {goal['command']}"


def words_lines(words: Mapping[str, Any] | None) -> Iterator[str]:
    """Say how much of the vocabulary stays, by whose sake, and what that is in bytes; nothing if all of it does."""
    if words is not None:
        before, after = (readable_bytes(words["bytes"][when]) for when in ("before", "after"))
        tokens = " → ".join(f"{words['tokens'][when]:,}" for when in ("before", "after"))
        yield f"Vocabulary, as {', '.join(words['kept'])} needs it: {tokens} tokens, by that alone {before} → {after}"


def forecast_lines(forecast: Mapping[str, Any]) -> Iterator[str]:
    """Say what a run is predicted to come to."""
    before, after = (readable_bytes(forecast["size"][f"{which}_bytes"]) for which in ("baseline", "predicted"))
    yield from words_lines(forecast.get("vocabulary"))
    yield f"Predicted: {before} → {after}, method {forecast['method']}, weights in {forecast['precision']}"
    if forecast["products_share"] is not None:
        yield f"Of the multiplications with weights {forecast['products_share']:.0%} stay"
    if forecast["latency_share"] is not None:
        yield f"It takes {forecast['latency_share']:.0%} of the time, as weights were timed one by one"
    moved = [f"{step} {value:.2g}" for step, value in forecast["damage"].items() if value is not None]
    if moved:
        yield f"Outputs move by {', '.join(moved)} of their variance, before what refit and distillation mend"
    if forecast["goal"] is not None:
        yield from goal_lines(forecast["goal"])
    yield from (f"Note: {note}" for note in forecast["notes"])
    yield "Nothing was written."


def _form(form: Mapping[str, Any]) -> str:
    if form["cut"] is None:
        return f"{form['precision']} gets down to {readable_bytes(form['least'])} only"
    return f"{form['precision']} {form['cut']:.2g} by the cut and {form['rounding'] or 0:.2g} by rounding"
