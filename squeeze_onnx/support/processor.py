"""Which processor this is, and which of its instruction sets decide how fast products of floats and of integers are."""

import platform
from collections.abc import Iterator
from pathlib import Path

CPU_INFORMATION = Path("/proc/cpuinfo")

INSTRUCTION_SETS = (
    *("avx", "fma", "f16c", "avx2", "avx_vnni"),
    *("avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""What kernels of matrix products choose by, as Linux calls it."""

_INT8_PRODUCTS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
_X86 = frozenset({"x86_64", "amd64", "i386", "i686"})
_NAMES = ("model name", "Processor", "CPU part")
_FLAGS = ("flags", "Features")


def processor_name(information: Path = CPU_INFORMATION) -> str:
    """Return the model of the processor as the system tells it; empty where it does not."""
    told = dict(_fields(information))
    return next((told[name] for name in _NAMES if told.get(name)), platform.processor())


def instruction_sets(information: Path = CPU_INFORMATION) -> tuple[str, ...]:
    """Return which of `INSTRUCTION_SETS` the processor has, in that order; none where the system does not tell."""
    told = dict(_fields(information))
    flags = {flag for name in _FLAGS for flag in told.get(name, "").split()}
    return tuple(name for name in INSTRUCTION_SETS if name in flags)


def int8_products_saturate(information: Path = CPU_INFORMATION, machine: str | None = None) -> bool:
    """Say whether int8 kernels may add up pairs of products in 16 bits, where large ones do not fit.

    So do those for x86 processors without VNNI (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html,
    "When and why do I need to try U8U8?"). An x86 processor that does not tell its instruction sets is taken for one of them.
    """
    if (machine or platform.machine()).lower() not in _X86:
        return False
    return _INT8_PRODUCTS.isdisjoint(instruction_sets(information))


def _fields(information: Path) -> Iterator[tuple[str, str]]:
    """Yield the fields of the first processor that ``information`` lists."""
    if not information.exists():
        return
    for line in information.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()
