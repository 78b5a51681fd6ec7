"""Precisions: how the weights of a squeezed model are stored and multiplied.

A new precision is one file here, one line in `PRECISIONS` and one test file.
"""

from squeeze_onnx.compress.precision.base import EIGHT_BITS, Encoded, Evidence, KeptSite, Lowered, Precision
from squeeze_onnx.compress.precision.fp16 import Float16
from squeeze_onnx.compress.precision.fp32 import Float32
from squeeze_onnx.compress.precision.int4 import Int4
from squeeze_onnx.compress.precision.int8 import DynamicInt8, Int8Int4Tables, StaticInt8
from squeeze_onnx.compress.precision.target_cpu import EVERYWHERE, EXACT_ON, TARGETS, THIS, TargetCpu, target_of

PRECISIONS: dict[str, type[Precision]] = {
    precision.name: precision for precision in (Float32, Float16, DynamicInt8, StaticInt8, Int8Int4Tables, Int4)
}
"""Name on the command line and in JSON → class."""


def rounds_weights(name: str | None) -> bool:
    """Say whether the precision of that ``name``, None for that of the model, stores weights as integers."""
    return name not in (None, Float32.name, Float16.name)


__all__ = [
    "EIGHT_BITS",
    "EVERYWHERE",
    "EXACT_ON",
    "PRECISIONS",
    "TARGETS",
    "THIS",
    "DynamicInt8",
    "Encoded",
    "Evidence",
    "Float16",
    "Float32",
    "Int4",
    "Int8Int4Tables",
    "KeptSite",
    "Lowered",
    "Precision",
    "StaticInt8",
    "TargetCpu",
    "rounds_weights",
    "target_of",
]
