"""ONNX Runtime's own file format (``.ort``), for builds of it that read no ONNX, and the operators that such a build needs.

The wheel of onnxruntime writes the format and ships the flatbuffer classes that read it. Its converter
(``onnxruntime.tools.convert_onnx_models_to_ort``) does the same two things, but imports torch where that is installed and puts
paths of this machine into the list of operators.
"""

import errno
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from squeeze_onnx.runtime.providers import PROVIDERS, import_onnxruntime
from squeeze_onnx.runtime.sessions import reported_errors
from squeeze_onnx.support.errors import MissingPackageError, ModelError

Operators = Mapping[tuple[str, int], frozenset[str]]
"""(domain, version of the operator set that last changed them) → operators; the default domain is ``ai.onnx``."""

_IDENTIFIER = b"ORTM"
_ALIGNMENT = 64
"""Bytes: a multiple of what any part of the format is aligned to."""


def write_ort(model: Path, target: Path) -> None:
    """Write ``model`` to ``target`` in ORT format; equal models give equal bytes.

    The graph is fused for CPUs ("extended"), but not laid out for the one of this machine, so the file runs on others. Raises
    ModelError with onnxruntime's reason if it cannot be written, among them models above 2 GB, and OSError for a full disk.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 4
    try:
        with reported_errors(f"onnxruntime cannot write {model} in ORT format"):
            onnxruntime.InferenceSession(str(model), options, providers=[PROVIDERS["cpu"]])
    except ModelError as error:
        if shutil.disk_usage(target.parent).free == 0:  # which onnxruntime does not tell
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise
    target.write_bytes(_in_order(target.read_bytes()))


def required_operators(ort: Path) -> Operators:
    """Return the operators of the ORT format file ``ort``, those of subgraphs included."""
    fbs = _schema()
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    session = fbs.InferenceSession.InferenceSession.GetRootAs(ort.read_bytes())
    for node in _nodes(session.Model().Graph(), fbs.AttributeType.AttributeType.GRAPH):
        found[node.Domain().decode() or "ai.onnx", node.SinceVersion()].add(node.OpType().decode())
    return {key: frozenset(names) for key, names in sorted(found.items())}


def operators_config(operators: Operators) -> str:
    """Spell ``operators`` as the file that ``build.py --include_ops_by_config`` of onnxruntime reads."""
    lines = [f"{domain};{version};{','.join(sorted(names))}" for (domain, version), names in operators.items()]
    return "\n".join(["# Operators that the model needs: build.py --include_ops_by_config", *lines, ""])


def _nodes(graph: Any, graph_attribute: int) -> Iterator[Any]:
    for index in range(graph.NodesLength()):
        node = graph.Nodes(index)
        yield node
        for number in range(node.AttributesLength()):
            attribute = node.Attributes(number)
            if attribute.Type() == graph_attribute:
                yield from _nodes(attribute.G(), graph_attribute)


def _in_order(content: bytes) -> bytes:
    """Put the table of kernel types of an ORT format file in order: onnxruntime writes it in that of a hash map.

    Flatbuffers are written back to front, so the model, which comes first, is one block at the end with offsets of its own: it is
    taken over as it is, and root and table are built anew before it.
    """
    import flatbuffers  # noqa: PLC0415 - comes with onnxruntime

    fbs = _schema()
    session = fbs.InferenceSession.InferenceSession.GetRootAs(content)
    table = session.Model()._tab
    start = min(table.Pos, table.Pos - int(np.frombuffer(content, "<i4", 1, table.Pos)[0]))  # of its vtable or itself
    builder = flatbuffers.Builder(0)
    builder.Bytes, builder.head, builder.minalign = bytearray(content[start:]), 0, _ALIGNMENT
    resolver = _resolver(fbs, builder, session.KernelTypeStrResolver())
    version = builder.CreateString(session.OrtVersion())
    root = fbs.InferenceSession
    root.Start(builder)
    root.AddOrtVersion(builder, version)
    root.AddModel(builder, len(content) - table.Pos)
    root.AddKernelTypeStrResolver(builder, resolver)
    builder.Finish(root.End(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _resolver(fbs: Any, builder: Any, resolver: Any) -> int:
    """Build a copy of ``resolver``, a map of maps of lists as flatbuffers have them, sorted by key; return its offset."""
    entries = [resolver.OpKernelTypeStrArgs(index) for index in range(resolver.OpKernelTypeStrArgsLength())]
    offsets = []
    for entry in sorted(entries, key=lambda entry: entry.OpId()):
        named = [entry.KernelTypeStrArgs(index) for index in range(entry.KernelTypeStrArgsLength())]
        built = [_type_arguments(fbs, builder, one) for one in sorted(named, key=lambda one: one.KernelTypeStr())]
        name = builder.CreateString(entry.OpId())
        arguments = _vector(builder, fbs.OpIdKernelTypeStrArgsEntry.StartKernelTypeStrArgsVector, built)
        fbs.OpIdKernelTypeStrArgsEntry.Start(builder)
        fbs.OpIdKernelTypeStrArgsEntry.AddOpId(builder, name)
        fbs.OpIdKernelTypeStrArgsEntry.AddKernelTypeStrArgs(builder, arguments)
        offsets.append(fbs.OpIdKernelTypeStrArgsEntry.End(builder))
    sorted_entries = _vector(builder, fbs.KernelTypeStrResolver.StartOpKernelTypeStrArgsVector, offsets)
    fbs.KernelTypeStrResolver.Start(builder)
    fbs.KernelTypeStrResolver.AddOpKernelTypeStrArgs(builder, sorted_entries)
    return int(fbs.KernelTypeStrResolver.End(builder))


def _type_arguments(fbs: Any, builder: Any, entry: Any) -> int:
    arguments = []
    for index in range(entry.ArgsLength()):
        argument = entry.Args(index)
        fbs.ArgTypeAndIndex.Start(builder)
        fbs.ArgTypeAndIndex.AddArgType(builder, argument.ArgType())
        fbs.ArgTypeAndIndex.AddIndex(builder, argument.Index())
        arguments.append(fbs.ArgTypeAndIndex.End(builder))
    name = builder.CreateString(entry.KernelTypeStr())
    built = _vector(builder, fbs.KernelTypeStrArgsEntry.StartArgsVector, arguments)
    fbs.KernelTypeStrArgsEntry.Start(builder)
    fbs.KernelTypeStrArgsEntry.AddKernelTypeStr(builder, name)
    fbs.KernelTypeStrArgsEntry.AddArgs(builder, built)
    return int(fbs.KernelTypeStrArgsEntry.End(builder))


def _vector(builder: Any, start: Any, offsets: list[int]) -> int:
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _schema() -> Any:
    """Import the flatbuffer classes in onnxruntime's wheel, without the package around them: that one imports torch."""
    folder = str(Path(import_onnxruntime().__file__).parent / "tools" / "ort_format_model")
    sys.path.insert(0, folder)
    try:
        import ort_flatbuffers_py.fbs as schema  # noqa: PLC0415
    except ImportError as error:
        raise MissingPackageError(
            f"this onnxruntime has no ORT format classes in {folder}; install it from its wheel"
        ) from error
    finally:
        sys.path.remove(folder)
    return schema
