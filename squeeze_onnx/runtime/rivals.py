"""What onnxruntime's own tools make of a model: the opponents that a squeezed model has to beat."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import onnx

from squeeze_onnx.errors import MissingPackageError, ModelError
from squeeze_onnx.runtime.providers import import_onnxruntime


def quantize_int8(source: Path, target: Path) -> None:
    """Write to ``target`` the dynamic int8 form of ``source``: int8 weights, one scale for each output channel."""
    import_onnxruntime()
    with _quietly():
        from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415, TID251

        # Given a path, it would write a temporary file beside the model.
        quantize_dynamic(onnx.load(source), target, weight_type=QuantType.QInt8, per_channel=True)


def fuse_dense(source: Path, target: Path) -> None:
    """Write to ``target`` what `onnxruntime.transformers.optimizer` makes of ``source``: attention and the like fused."""
    import_onnxruntime()
    if find_spec("sympy") is None:
        raise MissingPackageError("--against fused runs onnxruntime.transformers, which needs sympy: pip install sympy")
    with _quietly():
        from onnxruntime.transformers import optimizer  # noqa: PLC0415, TID251

        optimizer.optimize_model(str(source), model_type="bert").save_model_to_file(str(target))


RIVALS: dict[str, Callable[[Path, Path], None]] = {"int8": quantize_int8, "fused": fuse_dense}
"""Name on the command line → writes the opponent made of the model at the first path to the second."""


def build_rival(kind: str, source: Path, folder: Path) -> Path:
    """Write the opponent ``kind`` of the model ``source`` into ``folder``; return its path.

    Raises MissingPackageError if onnxruntime's tool lacks a package, ModelError with its reason if it fails.
    """
    target = folder / f"{kind}.onnx"
    try:
        RIVALS[kind](source, target)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"--against {kind}: onnxruntime's tool fails on {source}: {reason}") from error
    return target


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the tools log: advice on how to use them, and their progress."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
