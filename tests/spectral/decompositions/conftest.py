"""Blocks of a few rows, so that small matrices stream as large ones do."""

import pytest
from hypothesis import settings

from squeeze_onnx.spectral.decompositions import blocks

# A busy machine is no failure: no test here is about time.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 2 kB: some five rows of fifty float64 columns."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2048)
