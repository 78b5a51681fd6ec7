"""What the squeezed model learns from the dense one."""

from dataclasses import dataclass
from typing import Literal

from squeeze_onnx.compress.settings.base import Part
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Distillation(Part):
    """How long it learns.

    distill: steps that the squeezed model then learns to imitate the dense one; auto goes by the amount of text.
    distill_layers: fraction of these steps that goes through single layers first.
    """

    distill: int | Literal["auto"] | None = None
    distill_layers: float = 0.0

    def check(self) -> None:
        """Raise OptionError for what is out of range, and for layers without steps."""
        if self.distill not in (None, "auto") and not (isinstance(self.distill, int) and self.distill > 0):
            raise OptionError(f"`distill` is a positive number of steps, or auto; got {self.distill}")
        if not 0 <= self.distill_layers <= 1:
            raise OptionError(f"`distill_layers` is a float from 0 to 1; got {self.distill_layers}")
        if self.distill_layers and self.distill is None:
            raise OptionError(
                f"`distill_layers` {self.distill_layers} is a part of the steps of `distill`; add `distill`, or leave it out"
            )
