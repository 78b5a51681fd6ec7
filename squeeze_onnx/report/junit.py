"""JUnit XML of gates, as CI servers show it beside the tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from squeeze_onnx.evaluate.metrics import cannot_tell, change_of, unit_of, worsening_of


@dataclass(frozen=True)
class GateOutcome:
    """A gate and what became of it: ``message`` says by how much it passed or failed."""

    name: str
    passed: bool
    message: str


def gates_of(validation: Mapping[str, Any]) -> tuple[GateOutcome, ...]:
    """Return the gate on each provider of a validation; it must have one."""
    metric, allowed = validation["primary_metric"], validation["max_drop"]
    return tuple(
        GateOutcome(
            f"{metric} of {validation['task']} {worsening_of(metric)}s by at most {allowed:g} {unit_of(metric)} on {provider}",
            entry["passed"],
            f"it {change_of(metric, entry['drop_points'])}, 95 % interval {_interval(entry['drop_interval'])}"
            f"{', which what is allowed lies within' if cannot_tell(entry['drop_interval'], allowed) else ''}",
        )
        for provider, entry in validation["providers"].items()
    )


def junit_xml(gates: Sequence[GateOutcome]) -> str:
    """Return a test suite with a case for each of ``gates``."""
    failures = str(sum(not gate.passed for gate in gates))
    suite = ET.Element("testsuite", name="squeeze-onnx", tests=str(len(gates)), failures=failures, errors="0")
    for gate in gates:
        case = ET.SubElement(suite, "testcase", classname="squeeze-onnx.gate", name=gate.name)
        if gate.passed:
            ET.SubElement(case, "system-out").text = gate.message
        else:
            ET.SubElement(case, "failure", message=gate.message)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _interval(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low:.2f} … {high:.2f}"
