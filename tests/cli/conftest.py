import subprocess
import sys

import pytest

from squeeze_onnx.cli import main
from tests.conftest import RunCli


@pytest.fixture
def call_cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunCli:
    """Do as ``run_cli``, but in this process: without the second that a new one takes to import everything."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["squeeze-onnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        status = caught.value.code or 0
        assert isinstance(status, int)
        return subprocess.CompletedProcess(sys.argv, status, *capfd.readouterr())

    return call
