import json

import pytest

from squeeze_onnx.workflows import doctor as machine
from tests.conftest import RunCli


def test_doctor_says_what_is_there_and_how_to_get_the_rest(call_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = machine.Ability("fly", "no_such_module_anywhere", "grow wings")
    monkeypatch.setattr(machine, "ABILITIES", (*machine.ABILITIES, missing))
    done = call_cli("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--provider cpu: available" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("fly")]
    assert line.split() == ["fly", "no", "grow", "wings"]


def test_doctor_in_json(run_cli: RunCli) -> None:
    done = run_cli("doctor", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["format"] == "squeeze-onnx/doctor/1"
