"""Damaged files, a bounded number of them: what `tools.fuzz` does at length."""

from pathlib import Path

import numpy as np
import pytest

from tools.fuzz_targets import TARGETS, attempt, seed_of

RUNS = {"model": 150, "plan": 300, "recipe": 300, "glue": 300, "bundle": 60}


def damaged(good: bytes, rng: np.random.Generator) -> bytes:
    """Return ``good`` with some bytes changed, cut out, doubled, or all behind some place gone."""
    data = bytearray(good)
    for _ in range(int(rng.integers(1, 5))):
        place, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 9))
        match int(rng.integers(5)):
            case 0:
                data[place : place + length] = rng.bytes(length)
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[max(place - length, 0) : place]
            case 3:
                data[place : place + 1] = bytes([int(rng.choice(list(b'0-9eE."{}[]\x00\xff\n\t')))])
            case _:
                del data[place:]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_come_out(name: str, tmp_path: Path) -> None:
    target, rng = TARGETS[name], np.random.default_rng(0)
    good = seed_of(target)
    assert attempt(target, tmp_path, good)
    taken = [attempt(target, tmp_path, damaged(good, rng)) for _ in range(RUNS[name])]
    assert not all(taken)
