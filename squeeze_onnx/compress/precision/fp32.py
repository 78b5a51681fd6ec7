"""fp32: the squeezed model as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Encoder, Evidence, Lowered
from squeeze_onnx.compress.precision.stored_bytes import StoredBytes, floats


@dataclass(frozen=True)
class Float32:
    """Leaves everything alone."""

    name: ClassVar[str] = "fp32"
    weights_apart: ClassVar[bool] = False
    providers: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    rounds_rows: ClassVar[bool] = False
    table_step: ClassVar[int] = 1
    stored: ClassVar[StoredBytes] = StoredBytes(floats(4), floats(4))

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return nothing."""
        return {}

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Return ``model``."""
        return Lowered(model)
