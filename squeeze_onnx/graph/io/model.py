"""Loading a model from an .onnx file or a folder, and saving one.

Weights stay where they are until used, in the .onnx file or in external data files, and are read a tensor at a time.
"""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from squeeze_onnx.graph.io.declarations import initializers_undeclared
from squeeze_onnx.graph.io.external_data import (
    external_files,
    read_from_files,
    weights_embedded,
    weights_moved,
)
from squeeze_onnx.graph.io.locate import locate_model, unreadable
from squeeze_onnx.graph.io.other_formats import what_it_is
from squeeze_onnx.graph.io.outline import parse_outline
from squeeze_onnx.graph.io.streaming import stream_model
from squeeze_onnx.graph.io.wellformed import check_model
from squeeze_onnx.support.errors import ModelError, OutputError
from squeeze_onnx.support.git_lfs import GIT_LFS_POINTER
from squeeze_onnx.support.given_names import in_words

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes of the largest message that protobuf reads and writes."""

_LONGEST = 600
"""Characters of a reason; of a longer one both ends are kept."""

_PATH = "squeeze_onnx.path"
"""Key of the file that a graph was loaded from, among what clones take along and files do not."""

IN_MEMORY = "the model in memory"
"""How messages and reports call a model that has no file."""


@dataclass(frozen=True)
class OnnxModel:
    """A loaded model: its graph and the .onnx file it came from, which must stay as it is: weights are still read from there.

    The graph is well-formed (see `graph.wellformed`), topologically sorted, and its default domain is spelled ``""``.
    """

    path: Path
    ir: ir.Model

    @property
    def folder(self) -> Path:
        """Where the .onnx file and its external data lie."""
        return self.path.parent

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The files beside the .onnx file that weights are read from: absolute paths, sorted, each once."""
        return tuple(file for file in external_files(self.ir) if file != self.path)


def load_model(path: str | Path) -> OnnxModel:
    """Load the model at ``path``, a file or a folder; external data is checked but not read.

    Raises ModelError, one sentence that names the file, for whatever is not a whole, well-formed ONNX model.
    """
    path = locate_model(path).absolute()
    proto = _parse(path)
    check_model(proto, path)
    try:
        model = ir.from_proto(proto)
        for graph in (model.graph, *model.functions.values()):
            _spell_default_domain(graph.opset_imports)
            graph.sort()
    except (ir.serde.SerdeError, ValueError) as error:
        raise ModelError(f"{path} holds a graph that cannot be used ({_root_cause(error)}): export it again") from error
    read_from_files(model, path)
    model.graph.meta[_PATH] = path
    return OnnxModel(path, model)


def name_of(model: ir.Model) -> str:
    """Return how messages call ``model``: by the file that it, or what it is a clone of, was loaded from."""
    path = model.graph.meta.get(_PATH)
    return IN_MEMORY if path is None else in_words(str(path))


def save_model(model: ir.Model, path: str | Path, *, external_data: bool = False) -> tuple[Path, ...]:
    """Write ``model`` to ``path``; the weights go into the same file wherever they come from. Returns the files written.

    If ``external_data`` is asked for, or the weights are too many for one protobuf file (2 GB), those above 1 KiB go
    into ``<path>.data`` instead, one at a time. ``model`` is as before afterwards: its tensors lie where they lay.

    Raises OutputError if ``model`` still reads weights from one of the two files, or cannot be serialized.
    """
    path = Path(path).absolute()
    data_path = path.with_name(f"{path.name}.data")
    with weights_embedded(model), initializers_undeclared(model):
        sources = {os.path.realpath(file) for file in external_files(model)}
        for target in (path, data_path):
            if os.path.realpath(target) in sources:
                raise OutputError(f"{target} is where the model still reads its weights from: save to another folder")
        try:
            stream = stream_model(model)
            if stream.size <= PROTOBUF_LIMIT and not external_data:
                stream.write(path)
                return (path,)
            with weights_moved(model, data_path):
                ir.save(model, path, format="protobuf")
        except (ir.serde.SerdeError, EncodeError, ValueError) as error:
            raise OutputError(f"{path} cannot be written as ONNX: {_root_cause(error)}") from error
        return path, data_path


def serialized_size(model: ir.Model) -> int:
    """Return the bytes that `save_model` writes for ``model`` in one file, weights and all."""
    with weights_embedded(model), initializers_undeclared(model):
        return stream_model(model).size


def refuse_overwriting_input(model: OnnxModel, out: str | Path) -> None:
    """Raise OutputError if writing the file or folder ``out`` would touch a file that ``model`` was loaded from."""
    target = Path(os.path.realpath(out))
    for file in (model.path, *model.data_files):
        spellings = (Path(os.path.realpath(file)), Path(os.path.realpath(file.parent), file.name))
        if any(spelling.is_relative_to(target) for spelling in spellings):
            raise OutputError(f"{out} would replace the input {file}: name another place for the output")


def _parse(path: Path) -> onnx.ModelProto:
    """Return the message in the file ``path``."""
    try:
        if not path.exists():
            raise ModelError(f"{path} does not exist: name an .onnx file or a folder that holds one")
        if not path.is_file():  # a pipe or a device would never end
            raise ModelError(f"{path} is not a file: name an .onnx file or a folder that holds one")
        if path.stat().st_size > PROTOBUF_LIMIT:
            raise ModelError(f"{path} is larger than the 2 GB that protobuf reads: export it with external data")
        if path.stat().st_size == 0:
            raise ModelError(f"{path} is empty: download or export it again")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[: len(GIT_LFS_POINTER)] == GIT_LFS_POINTER:
                raise ModelError(f"{path} is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`")
            return parse_outline(content, path.name)
    except OSError as error:
        raise unreadable(path, error) from error
    except DecodeError as error:
        other = what_it_is(path)
        raise ModelError(other or f"{path} is not an ONNX file, or is cut off: download or export it again") from error


def _spell_default_domain(opset_imports: dict[str, int]) -> None:
    """Rename ``ai.onnx`` to ``""``, as onnx_ir does for nodes."""
    if "ai.onnx" in opset_imports:
        opset_imports[""] = opset_imports.pop("ai.onnx")


def _root_cause(error: BaseException) -> str:
    """Return what the innermost of chained errors says, on one line of bounded length."""
    while error.__cause__ is not None:
        error = error.__cause__
    line, half = " ".join(str(error).split()), _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"
