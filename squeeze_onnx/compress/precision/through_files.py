"""A model through a tool of onnxruntime that reads a file and writes a file."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import keep_in_memory
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.support.errors import ModelError


def through_files(model: ir.Model, tool: Callable[[Path, Path], None], purpose: str) -> ir.Model:
    """Return what ``tool`` makes of ``model``. Raises ModelError, which names ``purpose``, with the tool's reason if it fails."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        save_model(model, source)
        try:
            tool(source, target)
        except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, AssertionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(f"{purpose}: onnxruntime's tool fails on this model: {reason}") from error
        written = load_model(target).ir
        keep_in_memory(written)  # the file goes
        written.graph.meta.update(model.graph.meta)
        return written
