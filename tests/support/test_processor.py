from pathlib import Path

import pytest

from squeeze_onnx.support.processor import INSTRUCTION_SETS, instruction_sets, int8_products_saturate, processor_name

CASCADE_LAKE = """processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6248
flags\t\t: fpu sse4_2 avx f16c fma avx2 avx512f avx512bw avx512vl avx512_vnni

processor\t: 1
model name\t: another
flags\t\t: fpu amx_int8
"""
MILAN = "model name\t: AMD EPYC\nflags\t\t: fpu avx2 fma avx f16c\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd40\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "name", "sets"),
    [
        (CASCADE_LAKE, "Intel(R) Xeon(R) Gold 6248", "avx fma f16c avx2 avx512f avx512bw avx512vl avx512_vnni"),
        (MILAN, "AMD EPYC", "avx fma f16c avx2"),
        (GRAVITON, "0xd40", "asimd asimddp i8mm"),
    ],
    ids=["intel", "amd", "arm"],
)
def test_the_first_processor_is_named_with_what_matters(tmp_path: Path, text: str, name: str, sets: str) -> None:
    path = written(tmp_path, text)
    assert processor_name(path) == name
    assert instruction_sets(path) == tuple(sets.split())


@pytest.mark.parametrize(
    ("text", "machine", "saturate"),
    [
        (CASCADE_LAKE, "x86_64", False),
        (MILAN, "x86_64", True),
        (MILAN, "AMD64", True),
        (GRAVITON, "aarch64", False),
        ("", "x86_64", True),
    ],
)
def test_products_of_bytes_saturate_on_x86_without_vnni(
    tmp_path: Path, text: str, machine: str, saturate: bool
) -> None:
    assert int8_products_saturate(written(tmp_path, text), machine) is saturate


def test_a_system_that_does_not_tell_has_no_sets(tmp_path: Path) -> None:
    assert instruction_sets(tmp_path / "absent") == ()
    assert isinstance(processor_name(tmp_path / "absent"), str)


def test_this_machine_has_only_known_sets() -> None:
    assert set(instruction_sets()) <= set(INSTRUCTION_SETS)
