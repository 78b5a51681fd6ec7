"""onnxruntime's own tools that write a model in another precision, from file to file."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.sessions import Feeds

_PRODUCTS = ["MatMul"]


def quantize_int8(source: Path, target: Path, *, nodes: Sequence[str] = (), reduce_range: bool = False) -> None:
    """Write to ``target`` the dynamic int8 form of ``source``: int8 weights, one scale for each output channel.

    ``nodes`` are the names of the nodes to quantize; without any it is all that the tool knows. With ``reduce_range`` the weights
    have seven bits, whose products do not saturate on a processor that adds them up in 16 bits.
    """
    import_onnxruntime()
    with quietly():
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415, TID251

        quantize_dynamic(
            onnx.load(source),  # given a path, it would write a temporary file beside the model
            target,
            nodes_to_quantize=list(nodes),
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduce_range,
            extra_options=_untyped(),
        )


def quantize_static_int8(source: Path, target: Path, *, feeds: Iterable[Feeds], nodes: Sequence[str]) -> None:
    """Write to ``target`` the QDQ form of the MatMuls ``nodes`` of ``source``: uint8 rows in the range of ``feeds``."""
    import_onnxruntime()
    with quietly():
        from onnxruntime.quantization import (  # noqa: PLC0415, TID251
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )

        class _Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self._feeds = iter(feeds)

            def get_next(self) -> dict[str, object] | None:
                following = next(self._feeds, None)
                return None if following is None else dict(following)

        quantize_static(
            onnx.load(source),
            target,
            _Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_PRODUCTS,
            nodes_to_quantize=list(nodes),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Products stay float: rounding them too would cost quality and save nothing.
            extra_options={"OpTypesToExcludeOutputQuantization": _PRODUCTS, **_untyped()},
        )


def convert_fp16(source: Path, target: Path, *, keep: Sequence[str] = ()) -> None:
    """Write to ``target`` the float16 form of ``source``; inputs, outputs and the nodes named in ``keep`` stay float32."""
    import_onnxruntime()
    with quietly():
        from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415, TID251

        converted = convert_float_to_float16(onnx.load(source), keep_io_types=True, node_block_list=list(keep))
        onnx.save(converted, target)


def _untyped() -> dict[str, object]:
    """ONNX's shape inference knows no types behind operators of com.microsoft."""
    return {"DefaultTensorType": onnx.TensorProto.FLOAT}


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what the tools log: advice on how to use them, and their progress."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
