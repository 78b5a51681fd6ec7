"""The tensors of a .safetensors file: a header of JSON, then the entries (the format of Hugging Face, version 1)."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

import ml_dtypes
import numpy as np

from squeeze_onnx.support.errors import RepositoryError
from squeeze_onnx.support.git_lfs import refuse_pointer

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
_LENGTH = 8
"""Bytes of the length of the header, little-endian."""


def read_safetensors(path: Path) -> Mapping[str, np.ndarray]:
    """Return all tensors of ``path`` by name; raises RepositoryError for one that is damaged or holds no floats."""
    refuse_pointer(path, RepositoryError)
    try:
        content = path.read_bytes()
        start = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        header = json.loads(content[_LENGTH:start])
        header.pop("__metadata__", None)
        return {name: _tensor(entry, content[start:]) for name, entry in header.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RepositoryError(
            f"{path} is not a readable .safetensors file of floats ({error}): get it again"
        ) from error


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``tensors`` by name to ``path``, in float32."""
    header: dict[str, object] = {}
    entries = b""
    for name, tensor in tensors.items():
        begin, entries = len(entries), entries + np.ascontiguousarray(tensor, np.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, len(entries)]}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % _LENGTH)
    path.write_bytes(len(told).to_bytes(_LENGTH, "little") + told + entries)


def _tensor(entry: Mapping[str, object], entries: bytes) -> np.ndarray:
    shape, (begin, end) = entry["shape"], entry["data_offsets"]  # type: ignore[misc]
    dtype = np.dtype(_DTYPES[str(entry["dtype"])])
    if not 0 <= begin <= end <= len(entries) or end - begin != prod(shape) * dtype.itemsize:  # type: ignore[call-overload, has-type]
        raise ValueError("a tensor reaches beyond the file")
    values: np.ndarray = np.frombuffer(entries[begin:end], dtype).reshape(shape).astype(np.float64)  # type: ignore[has-type, call-overload]
    return values
