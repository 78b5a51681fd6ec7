"""Weights that lie in data files beside the .onnx file, or are left in it: which they are, how they are read and written.

Both go a tensor at a time, so that memory grows with the largest weight and not with the model.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx_ir as ir

from squeeze_onnx.graph.io.confinement import leads_beside
from squeeze_onnx.support.errors import ModelError

THRESHOLD = 1024
"""Tensors of at most so many bytes stay in the .onnx file, where shape inference finds them (as in `onnx.save`)."""

PAGE_SIZE = 4096
"""Alignment in bytes of the tensors in a data file, so that runtimes can map them (ONNX's ExternalData.md)."""


def next_page(offset: int) -> int:
    """Return the first multiple of `PAGE_SIZE` from ``offset`` on."""
    return -(-offset // PAGE_SIZE) * PAGE_SIZE


class DataFileTensor(ir.LazyTensor):
    """A tensor in a file, read anew at each use and written into the .onnx file unless it is moved elsewhere.

    The `onnx_ir.ExternalTensor` that it is made of would keep its file mapped after the first use, so that weights pile
    up in memory, and would be written as a reference to its old place.
    """

    def __init__(self, tensor: ir.ExternalTensor, path: Path | None = None) -> None:
        """Stand for ``tensor``; ``path`` is how its file is called, where that is not how the tensor has it."""
        super().__init__(
            self._read,
            tensor.dtype,
            tensor.shape,
            name=tensor.name,
            doc_string=tensor.doc_string,
            metadata_props=tensor.metadata_props,
        )
        self.path = path or Path(tensor.path)
        self.stored = tensor
        self.length_and_time = length_and_time(self.path)

    def _read(self) -> ir.TensorProtocol:
        """Return what the file holds, mapped only as long as it is used.

        Raises ModelError if the file is not any more what it was when the model was loaded.
        """
        unmapped = _unmapped(self.stored, self.stored.location, self.stored.base_dir)
        try:
            if length_and_time(self.path) != self.length_and_time:
                raise ModelError(f"{self.path} was changed while its weights were in use: start again")
            return ir.Tensor(unmapped.numpy(), dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.path} cannot be read any more ({error}): put it back and start again") from error


def length_and_time(path: Path) -> tuple[int, int]:
    """Return what tells a file from one that takes its place: its bytes, and when it was written, in nanoseconds."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class DerivedTensor(ir.LazyTensor):
    """A tensor that is computed from others, its ``parts``, anew at each use."""

    def __init__(
        self,
        parts: Sequence[ir.TensorProtocol],
        compute: Callable[[], ir.TensorProtocol],
        dtype: ir.DataType,
        shape: ir.ShapeProtocol,
    ) -> None:
        super().__init__(compute, dtype, ir.Shape(shape.numpy()))
        self.parts = tuple(parts)


@dataclass(frozen=True)
class TensorPlace:
    """A tensor of a graph, and how to put another one in its place."""

    tensor: ir.TensorProtocol
    put: Callable[[ir.TensorProtocol], None]


def external_files(model: ir.Model) -> tuple[Path, ...]:
    """Return the files that weights of ``model`` are read from, its own among them: absolute paths, sorted, each once."""
    return tuple(sorted({path for place in tensor_places(model) for path in _files_of(place.tensor)}))


def read_from_files(model: ir.Model, path: Path) -> None:
    """Make the external tensors of ``model``, loaded from the absolute ``path``, `DataFileTensor`s."""
    for place, tensor in _external_tensors(model):
        file = path.parent / tensor.location
        if tensor.location == path.name or leads_beside(file, path):
            # These may be links: the user pointed to them. An empty folder means no confinement.
            place.put(DataFileTensor(_unmapped(tensor, os.path.realpath(file), ""), file))
        else:
            tensor.base_dir = path.parent  # onnx_ir sets none in functions
            place.put(DataFileTensor(tensor))


def keep_in_memory(model: ir.Model) -> None:
    """Read all weights of ``model`` that still lie in files."""
    for place in tensor_places(model):
        if isinstance(place.tensor, DataFileTensor):
            place.put(ir.Tensor(place.tensor.numpy().copy(), dtype=place.tensor.dtype, name=place.tensor.name))


def _unmapped(
    tensor: ir.ExternalTensor, location: str | os.PathLike[str], base_dir: str | os.PathLike[str]
) -> ir.ExternalTensor:
    """Return ``tensor`` as it was before its first use, at ``location`` in ``base_dir``."""
    return ir.ExternalTensor(
        location,
        tensor.offset,
        tensor.length,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=tensor.metadata_props,
        base_dir=base_dir,
    )


def tensor_places(model: ir.Model) -> Iterator[TensorPlace]:
    """Yield the initializers of all graphs and the tensors that their nodes hold (Constant nodes, mostly)."""
    for graph in _graphs(model):
        yield from _initializer_places(graph)
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield TensorPlace(attribute.as_tensor(), partial(_set_tensor_attribute, node, attribute))


def large_places(graphs: Iterable[ir.Graph]) -> list[TensorPlace]:
    """Return the initializers above `THRESHOLD` bytes; strings are none, a data file cannot hold them."""
    return [
        place
        for graph in graphs
        for place in _initializer_places(graph)
        if place.tensor.dtype != ir.DataType.STRING and place.tensor.nbytes > THRESHOLD
    ]


@contextmanager
def weights_embedded(model: ir.Model) -> Iterator[None]:
    """Within the context, nothing refers to data files: their tensors are written into the .onnx file."""
    with replaced((place, DataFileTensor(tensor)) for place, tensor in _external_tensors(model)):
        yield


@contextmanager
def weights_moved(model: ir.Model, data_path: Path) -> Iterator[None]:
    """Write the large initializers to ``data_path``; within the context, that is where the graph has them.

    Attributes stay as they are: not every runtime looks for the tensor of a Constant node outside the .onnx file.
    """
    large = large_places(_graphs(model))
    moved = ir.external_data.convert_tensors_to_external(
        [place.tensor for place in large], data_path.parent, data_path.name, alignment=PAGE_SIZE, align_threshold=0
    )
    with replaced(zip(large, moved, strict=True)):
        yield


@contextmanager
def replaced(replacements: Iterable[tuple[TensorPlace, ir.TensorProtocol]]) -> Iterator[None]:
    """Put other tensors in their places for a while."""
    replacements = list(replacements)
    try:
        for place, tensor in replacements:
            place.put(tensor)
        yield
    finally:
        for place, _ in replacements:
            place.put(place.tensor)


def _files_of(tensor: ir.TensorProtocol) -> Iterator[Path]:
    if isinstance(tensor, DataFileTensor):
        yield tensor.path
    if isinstance(tensor, DerivedTensor):
        for part in tensor.parts:
            yield from _files_of(part)


def _external_tensors(model: ir.Model) -> list[tuple[TensorPlace, ir.ExternalTensor]]:
    return [(place, place.tensor) for place in tensor_places(model) if isinstance(place.tensor, ir.ExternalTensor)]


def _initializer_places(graph: ir.Graph) -> Iterator[TensorPlace]:
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield TensorPlace(value.const_value, partial(setattr, value, "const_value"))


def _graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield every graph once, also those of nodes and functions (`onnx_ir.Model.graphs` leaves out functions)."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        yield graph
        yield from graph.subgraphs()


def _set_tensor_attribute(node: ir.Node, attribute: ir.Attr, tensor: ir.TensorProtocol) -> None:
    node.attributes[attribute.name] = ir.AttrTensor(attribute.name, tensor, doc_string=attribute.doc_string)
