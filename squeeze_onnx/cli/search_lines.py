"""The search of ``optimize --max-drop`` for a terminal: a line a model, as soon as it is graded, and what came of it."""

from collections.abc import Mapping
from typing import Any

from squeeze_onnx.compress.frontier import FrontierPoint
from squeeze_onnx.evaluate.evaluator import Evaluator
from squeeze_onnx.evaluate.metrics import cannot_tell, change_of
from squeeze_onnx.support.readable import readable_bytes


def grade_line(evaluator: Evaluator, point: FrontierPoint) -> str:
    """One model on one split."""
    grade = point.grade
    return (
        f"{evaluator.rows.split.name:<10}  keep {point.keep:.2f}  {readable_bytes(point.bytes):>8}  "
        f"{evaluator.predictor.task.primary_metric} {grade.metric:.4f} (dense {evaluator.baseline_metric:.4f})  "
        f"drop {grade.drop_points:+6.2f} points  {'passed' if point.passed else 'too much'}"
    )


def search_verdict(search: Mapping[str, Any]) -> str:
    """The drop of the model that was written, and which rows have a part in it."""
    selection, gate = search["selection"], search["gate"]
    last = gate["points"][-1]
    low, high = last["drop_interval"]
    doubt = ", which lies within it: more rows would tell" if cannot_tell((low, high), search["max_drop"]) else ""
    verdict = (
        f"Passed: on {gate['rows']} rows of the {gate['split']} split {search['primary_metric']} "
        f"{change_of(search['primary_metric'], last['drop_points'])} (95 % interval of the drop {low:+.2f} … {high:+.2f}); "
        f"{search['max_drop']:g} allowed{doubt}. "
    )
    if selection["split"] == gate["split"]:
        return verdict + "The budget was searched on these very rows, for there is no train split: trust it less."
    failed = len(gate["points"]) - 1
    raised = f", and raised {failed} times because the gate failed" if failed else ""
    return f"{verdict}The budget was searched on {selection['rows']} rows of the {selection['split']} split{raised}."
