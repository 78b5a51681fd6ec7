"""For which processors products of integers are written: what is exact on one adds up to something else on another.

Rows of unsigned integers times weights of signed ones are what every processor has its fastest kernel for. Those of x86
processors without VNNI add up pairs of products in 16 bits (`graph.quantized.saturation`), so weights for them have a
range in which every pair fits: about a third coarser than the whole one, where halving the range would be twice as coarse.
"""

import platform
from dataclasses import dataclass

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.processor import int8_products_saturate

THIS = "this"
"""Stands for the processor that the program runs on."""

_ARM = frozenset({"aarch64", "arm64"})


@dataclass(frozen=True)
class TargetCpu:
    """What int8 looks like for some processors.

    ``fits_pairs`` keeps weights where pairs of products fit in 16 bits; ``signed_rows`` quantizes rows whose range is a constant
    to signed integers.
    """

    name: str
    fits_pairs: bool
    signed_rows: bool


ANY = TargetCpu("any", fits_pairs=True, signed_rows=False)
EVERYWHERE = "every processor"
EXACT_ON = "x86 processors with VNNI or AMX, and ARM"
"""Where pairs of products are never added up in 16 bits."""

TARGETS: dict[str, TargetCpu] = {
    target.name: target
    for target in (
        ANY,
        TargetCpu("avx2", fits_pairs=True, signed_rows=False),
        TargetCpu("avx512", fits_pairs=True, signed_rows=False),
        TargetCpu("vnni", fits_pairs=False, signed_rows=False),
        # The kernels of ARM multiply signed by signed integers without converting either.
        TargetCpu("arm64", fits_pairs=False, signed_rows=True),
    )
}
"""Name on the command line and in JSON → target; `THIS` stands for one of them."""


def target_of(name: str | None) -> TargetCpu:
    """Return the target called ``name``, that for all processors for None; `THIS` is the one that this processor needs.

    Raises OptionError for an unknown name, which only a plan can hold.
    """
    if name == THIS:
        exact = "arm64" if platform.machine().lower() in _ARM else "vnni"
        return TARGETS["avx2" if int8_products_saturate() else exact]
    if name is not None and name not in TARGETS:
        raise OptionError(f"the plan's target_cpu {name!r} is unknown; known are {', '.join(TARGETS)}")
    return ANY if name is None else TARGETS[name]
