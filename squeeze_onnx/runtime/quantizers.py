"""onnxruntime's own tools that write a model in another precision, from file to file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from squeeze_onnx.runtime.providers import import_onnxruntime


def quantize_int8(source: Path, target: Path, *, reduce_range: bool = False) -> None:
    """Write to ``target`` the dynamic int8 form of ``source``: int8 weights, one scale for each output channel.

    With ``reduce_range`` the weights have seven bits, whose products do not saturate on a processor that adds them up in 16 bits.
    """
    import_onnxruntime()
    with quietly():
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415, TID251

        quantize_dynamic(
            onnx.load(source),  # given a path, it would write a temporary file beside the model
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=reduce_range,
            # ONNX's shape inference knows no types behind operators of com.microsoft.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def convert_fp16(source: Path, target: Path, *, keep: Sequence[str] = ()) -> None:
    """Write to ``target`` the float16 form of ``source``; inputs, outputs and the nodes named in ``keep`` stay float32."""
    import_onnxruntime()
    with quietly():
        from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415, TID251

        converted = convert_float_to_float16(onnx.load(source), keep_io_types=True, node_block_list=list(keep))
        onnx.save(converted, target)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep back what the tools log: advice on how to use them, and their progress."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
