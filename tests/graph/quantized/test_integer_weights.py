from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.precision.rounding import round_blocks
from squeeze_onnx.graph.quantized.integer_weights import BlockWeight, Quantization, split_columns

RANDOM = np.random.default_rng(0)
INT8 = RANDOM.integers(-128, 128, (4, 6)).astype(np.int8)


def quantization(scale: Any, zero_point: Any = None, **options: int) -> Quantization:
    zeros = None if zero_point is None else ir.tensor(zero_point)
    return Quantization(ir.tensor(np.asarray(scale, np.float32)), zeros, **options)


@pytest.mark.parametrize(
    ("found", "stored", "expected"),
    [
        pytest.param(quantization(0.5), INT8, 0.5 * INT8.astype(np.float32), id="one scale for all"),
        pytest.param(
            quantization([0.5], np.array([3], np.int8)), INT8, 0.5 * (INT8.astype(np.float32) - 3), id="a vector of one"
        ),
        pytest.param(
            quantization(np.arange(1, 7), np.arange(6, dtype=np.int8)),
            INT8,
            (INT8.astype(np.float32) - np.arange(6)) * np.arange(1, 7),
            id="a scale for each column",
        ),
        pytest.param(
            quantization(np.arange(1, 5), axis=0),
            INT8,
            INT8.astype(np.float32) * np.arange(1, 5)[:, None],
            id="a scale for each row",
        ),
        pytest.param(
            quantization(np.arange(8).reshape(4, 2), axis=1, block=4),
            INT8,
            INT8.astype(np.float32) * np.repeat(np.arange(8).reshape(4, 2), 4, axis=1)[:, :6],
            id="blocks along the columns, the last one cut off",
        ),
        pytest.param(
            quantization(2.0),
            (INT8 // 16).astype(ml_dtypes.int4),
            2.0 * (INT8 // 16).astype(np.float32),
            id="four bits",
        ),
        pytest.param(quantization(0.25), np.array([2**20, -3], np.int32), [2**18, -0.75], id="a bias"),
    ],
)
def test_integers_stand_for_floats(found: Quantization, stored: np.ndarray, expected: np.ndarray) -> None:
    tensor = ir.tensor(stored)
    assert found.fits(tensor)
    decoded = found.decoded(tensor)
    assert (decoded.dtype, decoded.shape) == (ir.DataType.FLOAT, tensor.shape)
    np.testing.assert_array_equal(decoded.numpy(), np.asarray(expected, np.float32))
    assert decoded.parts[0] is tensor


@pytest.mark.parametrize(
    "found",
    [
        quantization(np.ones(4)),
        quantization(np.ones(6), axis=2),
        quantization(np.ones((4, 3)), axis=1, block=4),
        quantization(0.5, np.zeros(3, np.int8)),
    ],
    ids=["of another axis", "of an axis that is not there", "too many blocks", "zero points of another axis"],
)
def test_scales_that_do_not_fit(found: Quantization) -> None:
    assert not found.fits(ir.tensor(INT8))


def test_a_range_is_what_the_integers_reach() -> None:
    found = quantization(0.5, np.array(100, np.uint8))
    assert found.range_of(ir.DataType.UINT8) == (-50, 77.5)
    assert quantization(2.0).range_of(ir.DataType.INT4) == (-16, 14)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("columns", [32, 40])
def test_packed_blocks_are_unpacked(bits: int, columns: int) -> None:
    weight = RANDOM.standard_normal((5, columns))
    integers = RANDOM.integers(0, 2**bits, (5, -(-columns // 16), 16)).astype(np.uint8)
    if bits > 2:
        blocks = round_blocks(weight, bits=bits, size=16)
        packed, expected, scales = blocks.packed().packed, blocks.decoded(), blocks.scales
    else:
        scales = RANDOM.random(integers.shape[:2])
        expected = ((integers - 2.0) * scales.astype(np.float32)[..., None]).reshape(5, -1)[:, :columns]
        packed = np.bitwise_or.reduce([integers[..., place::4] << (2 * place) for place in range(4)])
    found = BlockWeight(ir.tensor(packed), ir.tensor(scales.astype(np.float32)), None, 5, columns, bits, 16)
    np.testing.assert_allclose(found.decoded().numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(found.decoded(transposed=True).numpy(), expected.T, rtol=1e-6)


def test_zero_points_of_blocks_are_packed_or_floats() -> None:
    integers = RANDOM.integers(0, 16, (3, 2, 16)).astype(np.uint8)
    zeros = RANDOM.integers(0, 16, (3, 2)).astype(np.uint8)
    packed = ir.tensor(integers[..., 0::2] | integers[..., 1::2] << 4)
    scales = ir.tensor(np.full((3, 2), 0.5, np.float32))
    expected = 0.5 * (integers.astype(np.float32) - zeros[..., None]).reshape(3, 32)
    for stored in (zeros[:, :1] | zeros[:, 1:] << 4, zeros.astype(np.float32)):
        found = BlockWeight(packed, scales, ir.tensor(stored), 3, 32, 4, 16)
        np.testing.assert_array_equal(found.decoded().numpy(), expected)


def test_columns_are_split_without_decoding_first() -> None:
    whole = quantization(0.5).decoded(ir.tensor(INT8))
    parts = split_columns(whole, 3)
    np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts], axis=1), whole.numpy())
    assert all(part.shape == (4, 2) for part in parts)
