"""Fields of configs that are made in Python."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from squeeze_onnx import (
    AnalyzeConfig,
    BenchConfig,
    CalibrationConfig,
    GateConfig,
    OptimizeConfig,
    PackageConfig,
    ValidateConfig,
)
from squeeze_onnx.support.errors import OptionError


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OptimizeConfig(keep="half"), "keep is a number; got 'half'"),  # type: ignore[arg-type]
        (lambda: OptimizeConfig(threads=True), "threads is an integer; got True"),
        (lambda: OptimizeConfig(include="pooler"), "include is a list, each item a string; got 'pooler'"),  # type: ignore[arg-type]
        (lambda: OptimizeConfig(floor=0.2), "floor is a table, each value a number; got 0.2"),  # type: ignore[arg-type]
        (lambda: AnalyzeConfig(seed="0"), "seed is an integer; got '0'"),  # type: ignore[arg-type]
        (lambda: CalibrationConfig("text", rows="5"), "rows is an integer; got '5'"),  # type: ignore[arg-type]
        (lambda: ValidateConfig(task=3), "task is a string; got 3"),  # type: ignore[arg-type]
        (lambda: BenchConfig(batch_sizes=("8",)), "batch_sizes is a list, each item an integer"),  # type: ignore[arg-type]
        (lambda: GateConfig("1", "mrpc", "glue"), "max_drop is a number; got '1'"),  # type: ignore[arg-type]
        (lambda: PackageConfig(licence=3), "licence is a string; got 3"),  # type: ignore[arg-type]
    ],
)
def test_a_config_made_in_python_names_the_field_of_another_type(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        make()


def test_a_list_of_paths_is_a_list_of_texts() -> None:
    assert PackageConfig(measured=(Path("a.json"), Path("b.json"))).measured == (Path("a.json"), Path("b.json"))
