"""What several tests of measuring look at."""

import pytest

from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.runtime.timing_process import TimingProcess


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[Feeds]:
    """What timed models were fed with, in order."""
    seen: list[Feeds] = []
    bind = TimingProcess.bind

    def look(process: TimingProcess, feeds: Feeds) -> None:
        seen.append(feeds)
        bind(process, feeds)

    monkeypatch.setattr(TimingProcess, "bind", look)
    return seen
