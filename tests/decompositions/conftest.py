"""Blocks of a few rows, so that small matrices stream as large ones do."""

import pytest

from squeeze_onnx.decompositions import blocks


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 2 kB: some five rows of fifty float64 columns."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2048)
