"""What an effort chooses, and what it leaves as it was said."""

from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.efforts import with_effort
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.readable import bytes_of, written_bytes
from squeeze_onnx.workflows.explicit_command import explicit_command
from squeeze_onnx.workflows.gate import GateConfig

TEXT = CalibrationConfig("text")


def test_without_a_goal_nothing_is_chosen() -> None:
    assert with_effort(OptimizeConfig(keep=0.5), TEXT) == (OptimizeConfig(keep=0.5), TEXT)


@pytest.mark.parametrize(
    ("asked", "chosen", "rows"),
    [
        ({"max_size": "1MB"}, {"effort": "balanced", "distill": 200, "include": ("embedding",), "precision": None}, 2048),
        ({"max_size": 10**6, "effort": "quick"}, {"distill": None, "include": ("embedding",)}, 256),
        ({"max_size": "1MB", "effort": "best", "include": ("pooler",)}, {"distill": "auto", "include": ("pooler",)}, None),
        ({"keep": 0.5, "effort": "quick"}, {"precision": "int8", "include": (), "fuse": None}, 256),
        ({"keep": 0.5, "effort": "quick", "precision": "fp32", "distill": 3}, {"precision": "fp32", "distill": 3}, 256),
        ({"keep": 0.5, "effort": "quick", "provider": "cuda"}, {"precision": "fp16"}, 256),
        ({"keep": 0.5, "effort": "quick", "objective": "latency"}, {"precision": "int8", "fuse": "cpu"}, 256),
    ],
)  # fmt: skip
def test_an_effort_chooses_what_was_not_said(asked: Any, chosen: dict[str, Any], rows: int | None) -> None:
    config, text = with_effort(OptimizeConfig(**asked), TEXT)
    assert {name: getattr(config, name) for name in chosen} == chosen
    assert text is not None
    assert text.rows == rows
    assert with_effort(config, text) == (config, text)


def test_models_that_are_held_against_a_gate_are_not_distilled() -> None:
    config, text = with_effort(OptimizeConfig(effort="best"), CalibrationConfig("text", rows=7), gated=True)
    assert config.distill is None
    assert text == CalibrationConfig("text", rows=7)


def test_a_command_says_what_differs_from_the_usual() -> None:
    config = OptimizeConfig(max_size="7MB", effort="quick", refit=False, floor={"value": 0.5}, exclude=("key", "a b"))
    gate = GateConfig(1, "sst2", "glue")
    said = explicit_command(Path("in"), Path("out"), config, CalibrationConfig("text", rows=9), gate)
    for words in ("--max-size 7MB --effort quick", "--no-refit", "--floor value=0.5", "--exclude key --exclude 'a b'"):
        assert f" {words}" in said
    assert said.startswith("squeeze-onnx optimize in -o out --max-drop 1 --task sst2 ")
    assert said.endswith(" --calibration text --calibration-rows 9")


@pytest.mark.parametrize(
    ("written", "count"),
    [("10MB", 10**7), ("1.5 GiB", 3 * 2**29), ("500kb", 500_000), ("7m", 7 * 10**6), ("4096", 4096), (12, 12)],
)
def test_sizes_are_read_as_people_write_them(written: str | int, count: int) -> None:
    assert bytes_of(written, "max_size") == count
    assert bytes_of(written_bytes(count), "max_size") == count


@pytest.mark.parametrize("written", ["", "MB", "-1MB", "1 XB", "0.1", "nan", "1,5MB", "1e3"])
def test_what_is_no_size_is_refused(written: str) -> None:
    with pytest.raises(OptionError, match="`max_size` is a size such as 10MB"):
        bytes_of(written, "max_size")
