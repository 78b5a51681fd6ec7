from typing import Any
from xml.etree import ElementTree as ET

from squeeze_onnx.report.junit import GateOutcome, gates_of, junit_xml


def validation(**drops: float) -> dict[str, Any]:
    providers = {
        provider: {"drop_points": drop, "drop_interval": [drop - 1, drop + 1], "passed": drop <= 1.5}
        for provider, drop in drops.items()
    }
    return {"task": "sst2", "primary_metric": "accuracy", "max_drop": 1.5, "providers": providers}


def test_each_provider_is_a_case() -> None:
    suite = ET.fromstring(junit_xml(gates_of(validation(cpu=1.0, cuda=2.0))))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    passed, failed = suite.findall("testcase")
    assert passed.get("name") == "accuracy of sst2 drops by at most 1.5 points on cpu"
    assert passed.find("failure") is None
    assert failed.get("name", "").endswith("on cuda")
    [failure] = failed.findall("failure")
    assert (
        failure.get("message")
        == "it drops by 2.00 points, 95 % interval 1.00 … 3.00, which what is allowed lies within"
    )


def test_what_a_message_says_is_quoted() -> None:
    message = 'no <model> "passes" & that is it'
    suite = ET.fromstring(junit_xml([GateOutcome("a gate", passed=False, message=message)]))
    [failure] = suite.iter("failure")
    assert failure.get("message") == message
