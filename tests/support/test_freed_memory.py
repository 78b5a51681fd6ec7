"""Freed memory goes back to the system where the allocator can be told to."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.support.freed_memory import give_back_freed_memory


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of Linux")
def test_gives_back_what_lies_between_blocks_in_use() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        give_back_freed_memory()  # there is nothing to call
        return
    blocks = [np.ones(100_000, dtype=np.uint8) for _ in range(1000)]  # too small to be mapped by themselves
    del blocks[::2]
    before = _resident_pages()

    give_back_freed_memory()

    assert _resident_pages() < before - 5_000, "of 50 MB that are free, 20 MB are pages of their own at least"
    assert len(blocks) == 500


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
