"""Where the weights made for a model lie until it is saved: in memory, or in a file, so that memory does not grow with the model.

factors of a site ─► Store ─► tensor in the graph ─► save_model reads it once more
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeAlias

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import THRESHOLD, next_page

Store: TypeAlias = Callable[[ir.Tensor[np.ndarray]], ir.TensorProtocol]
"""Takes a new tensor and returns the one to put into the graph, with the same name, type and entries."""


def in_memory(tensor: ir.Tensor[np.ndarray]) -> ir.TensorProtocol:
    """Return ``tensor`` itself."""
    return tensor


@contextmanager
def spill_file(folder: Path) -> Iterator[Store]:
    """Yield a store whose large tensors lie in a file on the file system of ``folder`` and can be read within the context.

    The file has no name, so that nothing is left of it however the process ends. A full disk is an OSError of the store.
    """
    with TemporaryFile(dir=folder) as file:
        yield partial(_spill, file)


def _spill(file: IO[bytes], tensor: ir.Tensor[np.ndarray]) -> ir.TensorProtocol:
    if tensor.nbytes <= THRESHOLD:
        return tensor
    entries = np.ascontiguousarray(tensor.numpy())
    offset = next_page(file.seek(0, os.SEEK_END))
    file.seek(offset)
    file.write(entries.view(np.uint8).data)
    file.flush()
    read = partial(_read, file, offset, entries.dtype, entries.shape, tensor.dtype)
    return ir.LazyTensor(read, tensor.dtype, tensor.shape, name=tensor.name)


def _read(
    file: IO[bytes], offset: int, stored: np.dtype, shape: tuple[int, ...], dtype: ir.DataType
) -> ir.Tensor[np.ndarray]:
    """Return what lies at ``offset``, mapped only as long as it is used."""
    return ir.Tensor(np.asarray(np.memmap(file, stored, "r", offset, shape)), dtype=dtype)
