"""Settings in parts, and a configuration put together of them."""

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.settings import Budget, Distillation, Output, Steps
from squeeze_onnx.support.errors import OptionError


def test_parts_make_the_configuration_that_their_settings_make_by_name() -> None:
    parts = Budget(keep=0.5), Distillation(distill="auto"), Output(fuse="cpu")
    assert OptimizeConfig.of(*parts, method="svd") == OptimizeConfig(keep=0.5, distill="auto", fuse="cpu", method="svd")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(keep=2), "`keep` is a float above 0"),
        (lambda: Steps(method="magic"), "`method` is one of auto"),
        (lambda: Output(precision="int8", fuse="cuda"), "no kernels on cuda; leave out `fuse`"),
        (lambda: OptimizeConfig.of(Output(precision="int8"), Steps(provider="cuda")), "leave out `provider`"),
        (lambda: OptimizeConfig.of(Budget(preset="paper-ffn"), Steps(method="svd")), "regime of `method` squeeze"),
    ],
)
def test_each_part_checks_itself_and_the_whole_what_is_across_them(make: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()  # type: ignore[operator]
