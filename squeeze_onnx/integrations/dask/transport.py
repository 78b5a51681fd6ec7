"""What goes from machine to machine: a short message, and beside it files for all that is large.

A weight that lies in a data file is told by its place there and read by whoever needs it. Other arrays above `LARGE` bytes, and
weights inside a .onnx file, are written to a folder that all machines see. What is left is pickled, as Dask itself does with all
that it sends: whoever may connect to the scheduler can run code on its machines.
"""

import io
import pickle
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import DataFileTensor, length_and_time
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.graph.match.constants import ConstantMatrix
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.support.errors import WorkerError

T = TypeVar("T")

LARGE = 2**16
"""Bytes from which on an array goes by file."""


@dataclass(frozen=True)
class _StoredArray:
    """An .npy file."""

    path: Path

    def restore(self) -> np.ndarray:
        """Return the array, in memory as far as it is looked at."""
        return np.asarray(self._load("r"))

    def take(self) -> np.ndarray:
        """Return the array and remove the file."""
        array = self._load(None)
        self.path.unlink()
        return array

    def _load(self, mode: Literal["r"] | None) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _invisible(self.path, error) from error
        return array


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor of a .onnx file, written anew."""

    array: _StoredArray
    dtype: ir.DataType

    def restore(self) -> ir.TensorProtocol:
        """Return the tensor; NumPy's own format does not know each of its types."""
        return ir.Tensor(self.array.restore().view(self.dtype.numpy()), dtype=self.dtype)


@dataclass(frozen=True)
class _PlaceInFile:
    """A tensor in a data file of the model, which must still be the file (``length_and_time``) that was meant."""

    path: Path
    length_and_time: tuple[int, int]
    offset: int | None
    length: int | None
    dtype: ir.DataType
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: DataFileTensor) -> Self:
        """Say where ``tensor`` lies."""
        stored, path = tensor.stored, tensor.path.absolute()
        shape = tuple(map(int, stored.shape.numpy()))
        return cls(path, tensor.length_and_time, stored.offset, stored.length, stored.dtype, shape)

    def restore(self) -> ir.TensorProtocol:
        """Return the tensor, read when it is used; WorkerError if the file is not there, or is another one."""
        try:
            found = length_and_time(self.path)
        except OSError as error:
            raise _invisible(self.path, error) from error
        if found != self.length_and_time:
            raise WorkerError(
                f"finds another file at {self.path} than the one that is worked on: leave the model alone meanwhile, and let "
                "all machines see the same files"
            )
        place = (str(self.path), self.offset, self.length, self.dtype)
        return DataFileTensor(ir.ExternalTensor(*place, shape=ir.Shape(self.shape), name=self.path.name))


@dataclass(frozen=True)
class _StoredModel:
    """A graph with its weights, as a file."""

    path: Path

    def restore(self) -> ir.Model:
        """Return the graph."""
        if not self.path.exists():
            raise _invisible(self.path, FileNotFoundError("no such file"))
        return load_model(self.path).ir


@dataclass(frozen=True)
class _StoredSite:
    """A site without its graph: name and weight are all that arithmetic needs."""

    name: str
    weight: ConstantMatrix
    layer: int | None
    role: Role
    shape: tuple[int, int]

    def restore(self) -> MatMulSite:
        """Return the site, without nodes."""
        return MatMulSite(self.name, (), self.weight, self.layer, self.role, *self.shape)


@dataclass(frozen=True)
class _NamedSite:
    """A site that the other side knows."""

    name: str


class Sender:
    """Packs values, and remembers which sites it sent, and what it wrote into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.sites: dict[str, MatMulSite] = {}
        self._folder = folder
        self._written: dict[int, tuple[Any, Any]] = {}
        self._is_tensor: dict[type, bool] = {}

    def pack(self, value: Any) -> bytes:
        """Return the message."""
        return _packed(value, self._replacement)

    def _replacement(self, value: Any) -> Any:
        if isinstance(value, MatMulSite):
            self.sites[value.name] = value
            shape = (value.in_features, value.out_features)
            return _StoredSite(value.name, value.weight, value.layer, value.role, shape)
        if isinstance(value, np.ndarray) and value.nbytes >= LARGE:
            return self._once(value, _write)
        if isinstance(value, DataFileTensor):
            return _PlaceInFile.of(value)
        # Every value of a message comes by here, and whether one follows a protocol is slow to find out: once a type.
        if type(value) not in self._is_tensor:
            self._is_tensor[type(value)] = isinstance(value, ir.TensorProtocol)
        if self._is_tensor[type(value)]:
            return self._once(value, _write_tensor)
        if isinstance(value, ir.Model):
            return self._once(value, _write_model)
        return None

    def _once(self, value: T, write: Callable[[T, Path], Any]) -> Any:
        """Write ``value`` the first time that it goes; it is kept so that its identity stays its own."""
        if id(value) not in self._written:
            self._written[id(value)] = (value, write(value, self._folder))
        return self._written[id(value)][1]


def pack_answer(value: Any, folder: Path) -> bytes:
    """Return the message of a worker, which leaves large arrays in ``folder`` and sites to who asked.

    Raises WorkerError if it cannot write there.
    """

    def replacement(value: Any) -> Any:
        if isinstance(value, MatMulSite):
            return _NamedSite(value.name)
        return _write(value, folder) if isinstance(value, np.ndarray) and value.nbytes >= LARGE else None

    try:
        return _packed(value, replacement)
    except OSError as error:
        raise WorkerError(
            f"cannot write into {folder} ({error}): let all machines see, and write, the folder of the output"
        ) from error


def unpack(message: bytes) -> Any:
    """Return what a `Sender` packed; raises WorkerError for a file that this machine does not see, or sees another one of."""
    return _Unpickler(message, lambda found: found.restore()).load()


def unpack_answer(message: bytes, sites: Mapping[str, MatMulSite]) -> Any:
    """Return what a worker answered about ``sites``, and remove the files that came with it.

    Raises WorkerError for a file that this machine does not see.
    """
    return _Unpickler(
        message, lambda found: sites[found.name] if isinstance(found, _NamedSite) else found.take()
    ).load()


class _Pickler(pickle.Pickler):
    """Puts something that says where to find it in the place of what does not go into the message."""

    def __init__(self, stream: io.BytesIO, replacement: Callable[[Any], Any]) -> None:
        super().__init__(stream, protocol=5)
        self._replacement = replacement

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, ir.Value):  # of a weight: all but its name belongs to the graph
            return str(value.name)
        return self._replacement(value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, message: bytes, restored: Callable[[Any], Any]) -> None:
        super().__init__(io.BytesIO(message))
        self._restored = restored

    def persistent_load(self, found: Any) -> Any:
        return ir.Value(name=found) if isinstance(found, str) else self._restored(found)


def _packed(value: Any, replacement: Callable[[Any], Any]) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, replacement).dump(value)
    return stream.getvalue()


def _write(array: np.ndarray, folder: Path) -> _StoredArray:
    path = folder / f"{secrets.token_hex(8)}.npy"
    np.save(path, array, allow_pickle=False)
    return _StoredArray(path)


def _write_tensor(tensor: ir.TensorProtocol, folder: Path) -> _StoredTensor:
    return _StoredTensor(_write(tensor.numpy(), folder), tensor.dtype)


def _write_model(model: ir.Model, folder: Path) -> _StoredModel:
    path = folder / f"{secrets.token_hex(8)}.onnx"
    save_model(model, path)
    return _StoredModel(path)


def _invisible(path: Path, error: Exception) -> WorkerError:
    return WorkerError(
        f"cannot read {path} ({error}): let all machines see the model, and the folder of the output, under the same paths"
    )
