"""Where the external data of a model may lie.

A model is untrusted input: its data files must be regular files inside its own folder, however their paths are spelled
(ONNX's ExternalData.md; https://github.com/onnx/onnx/security/advisories). The cache of huggingface_hub keeps every file of a
repository in one folder, ``blobs``, and links to them: where the .onnx file is such a link, its data files may be links into the
folder that it leads to. ONNX Runtime opens those as well.
"""

import math
import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir

from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.git_lfs import refuse_pointer


def check_external_data(tensor: onnx.TensorProto, label: str, path: Path) -> None:
    """Raise ModelError unless all bytes of the external ``tensor`` lie in a file that the model at ``path`` may use.

    ``tensor`` has a valid type and shape; ``label`` says which tensor it is. No data is read.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute():
        raise ModelError(f"{path} keeps {label} in {location!r}: export it with a path relative to the model's folder")
    # What lies in the .onnx file itself is where the user pointed to, link or not.
    size = path.stat().st_size if location == path.name else _size_of_confined_file(location, label, path)
    needed = math.ceil(math.prod(tensor.dims) * ir.DataType(tensor.data_type).itemsize)
    offset = _read_count(entries.get("offset", "0"), "offset", label, path)
    length = _read_count(entries.get("length", str(needed)), "length", label, path)
    if length != needed:
        raise ModelError(
            f"{path} gives {label} {length} bytes of {location!r} where its type and shape need {needed}: "
            "export the model again"
        )
    if offset + length > size:
        refuse_pointer(path.parent / location, ModelError)
        raise ModelError(
            f"{path} needs {offset + length} bytes of {location!r} for {label}, but the file has {size}: "
            "download or export it again"
        )


def leads_beside(file: Path, path: Path) -> bool:
    """Whether the data file ``file`` and the .onnx file ``path`` are links to files of one folder elsewhere."""
    folder = Path(os.path.realpath(path)).parent
    return folder != Path(os.path.realpath(path.parent)) and Path(os.path.realpath(file)).parent == folder


def _size_of_confined_file(location: str, label: str, path: Path) -> int:
    """Return the size in bytes of a data file that lies in the model's folder and can be read; else raise ModelError."""
    file = path.parent / location
    try:
        inside = leads_beside(file, path) or Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path.parent))
        status = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL or something that the file system cannot encode
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"{path} keeps {label} in {location!r}, which cannot be found ({reason}): put that file beside the model"
        ) from error
    if not inside:
        raise ModelError(
            f"{path} keeps {label} in {location!r}, which leads out of the model's folder: "
            "copy the model and its data, links resolved, into one folder (cp -rL)"
        )
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} keeps {label} in {location!r}, which is not a file: export the model again")
    if status.st_nlink > 1:  # onnx_ir and onnx refuse these too: a hard link gets around the confinement
        raise ModelError(
            f"{path} keeps {label} in {location!r}, which is a hard link to a file elsewhere: "
            "copy the model's folder (cp -r) and use the copy"
        )
    if not os.access(file, os.R_OK):
        raise ModelError(f"{path} keeps {label} in {location!r}, which may not be read: change its permissions")
    return status.st_size


def _read_count(text: str, key: str, label: str, path: Path) -> int:
    """Return a decimal number of bytes."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ModelError(f"{path} has no usable {key} for the external data of {label}: export the model again")
    return int(text)
