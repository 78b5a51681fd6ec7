"""Settings in parts, and a configuration put together of them."""

from dataclasses import replace
from typing import Any

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.settings import Budget, Output, Steps
from squeeze_onnx.support.errors import OptionError


def test_parts_make_the_configuration_that_their_settings_make_by_name() -> None:
    made: Any = OptimizeConfig  # the names of parts are no fields, so that types do not know them
    config = made(budget=Budget(keep=0.5), distillation={"distill": "auto"}, output=Output(fuse="cpu"), method="svd")
    assert config == OptimizeConfig(keep=0.5, distill="auto", fuse="cpu", method="svd")
    assert config.budget == Budget(keep=0.5)
    assert config.steps == Steps(method="svd")
    assert replace(config, keep=0.25).budget == Budget(keep=0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.5}, "budget is a Budget or a dict of its settings; got float"),
        ({"budget": Steps()}, "budget is a Budget or a dict of its settings; got Steps"),
        ({"budget": {"kept": 0.5}}, "Budget: unknown setting 'kept'; did you mean keep"),
        ({"budget": Budget(keep=0.5), "keep": 0.25}, "keep is given twice"),
        ({"buget": Budget()}, "unknown setting 'buget'"),
    ],
)
def test_a_part_that_is_none_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        OptimizeConfig(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(keep=2), "`keep` is a float above 0"),
        (lambda: Steps(method="magic"), "`method` is one of auto"),
        (lambda: Output(precision="int8", fuse="cuda"), "no kernels on cuda; leave out `fuse`"),
        (lambda: OptimizeConfig(precision="int8", provider="cuda"), "leave out `provider`"),
        (lambda: OptimizeConfig(preset="paper-ffn", method="svd"), "regime of `method` squeeze"),
    ],
)
def test_each_part_checks_itself_and_the_whole_what_is_across_them(make: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()  # type: ignore[operator]
