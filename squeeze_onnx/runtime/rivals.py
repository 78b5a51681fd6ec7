"""What onnxruntime's own tools make of a model: the opponents that a squeezed model has to beat."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.quantizers import quantize_int8, quietly
from squeeze_onnx.support.errors import MissingPackageError, ModelError


def fuse_dense(source: Path, target: Path) -> None:
    """Write to ``target`` what `onnxruntime.transformers.optimizer` makes of ``source``: attention and the like fused."""
    import_onnxruntime()
    if find_spec("sympy") is None:  # imported late, where its absence is swallowed
        raise _lacking("sympy")
    with quietly():
        try:
            from onnxruntime.transformers import optimizer  # noqa: PLC0415, TID251
        except ModuleNotFoundError as error:  # older ones import torch
            raise _lacking(str(error.name)) from error

        optimizer.optimize_model(str(source), model_type="bert").save_model_to_file(str(target))


def _lacking(package: str) -> MissingPackageError:
    return MissingPackageError(
        f"--against fused runs onnxruntime.transformers, which needs {package}: pip install {package}"
    )


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
