"""A model as people have it: the .onnx file, and the folders in which its tokenizer, configuration and further modules lie.

Three layouts are known, as optimum, sentence-transformers and transformers.js write and read them:

    model.onnx  config.json  tokenizer.json  modules.json  1_Pooling/     all in one folder
    onnx/model.onnx          config.json  tokenizer.json  modules.json    the graph one folder below the rest
    0_Transformer/[onnx/]model.onnx  0_Transformer/config.json  modules.json   the encoder is a module in a folder of its own
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from squeeze_onnx.data.json_files import read_json, read_json_object
from squeeze_onnx.graph.io.locate import MODEL_FILE, SUBFOLDER, locate_model
from squeeze_onnx.support.errors import ModelError, RepositoryError

MODULES_FILE = "modules.json"
CONFIG_FILE = "config.json"
SETTINGS_FILE = "tokenizer_config.json"
TOKENIZER_FILES = ("tokenizer.json", SETTINGS_FILE, "vocab.txt")
"""One of these in a folder is a tokenizer, or a part of one."""

_HERE = PurePosixPath()
_ANCESTORS = 3
"""How many folders up modules.json is looked for: 0_Transformer/onnx/model.onnx has it in the third."""


@dataclass(frozen=True)
class ModuleEntry:
    """An entry of modules.json: the last part of its type's name, and its folder, relative to the repository."""

    kind: str
    folder: PurePosixPath


@dataclass(frozen=True)
class Repository:
    """Where a model and what belongs to it lie.

    ``root`` is the folder that loaders are given; ``model`` is the .onnx file and ``encoder`` the folder of its configuration and
    tokenizer, both relative to ``root``; ``modules`` are the entries of modules.json, the encoder first (empty without the file).
    """

    root: Path
    model: PurePosixPath
    encoder: PurePosixPath = _HERE
    modules: tuple[ModuleEntry, ...] = ()

    @property
    def model_path(self) -> Path:
        """The .onnx file."""
        return self.root / self.model

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders in which files of the encoder lie, the one that loaders look into first."""
        return tuple(dict.fromkeys((self.root / self.encoder, self.root / self.model.parent, self.root)))

    def find(self, *names: str) -> Path | None:
        """Return the first file of one of these ``names``, folder by folder; None if there is none."""
        return next((path for folder in self.folders for name in names if (path := folder / name).is_file()), None)

    def place_in(self, out: Path) -> Path:
        """Return where a model made of this one lies in the folder ``out``, so that ``out`` has the same layout."""
        return out / self.model.with_name(MODEL_FILE)


def find_repository(path: str | Path) -> Repository:
    """Return the repository that MODEL, an .onnx file or a folder, means; raises ModelError as `locate_model` does."""
    folder = Path(path)
    encoder = _encoder_folder(folder)
    inner = folder if encoder is None else folder / encoder
    return repository_of(locate_model(inner if inner.is_dir() else folder))


def repository_of(model: Path) -> Repository:
    """Return the repository of the .onnx file ``model``.

    1. A folder with modules.json, up to two above, whose encoder's folder is that of the file or the one above it.
    2. The file's own folder, if it has a config.json or a tokenizer.
    3. The folder above it, if that has a tokenizer or a config.json of transformers, or any config.json above ``onnx``.
    4. The file's own folder.

    Raises RepositoryError for a modules.json of the repository that is malformed.
    """
    own = model.parent
    for root in (own, *own.absolute().parents[: _ANCESTORS - 1]):
        encoder = _encoder_folder(root)
        if encoder is not None and own.absolute() in _homes((root / encoder).absolute()):
            return _repository(root, model, encoder)
    above = own.absolute().parent
    if not _has_companions(own) and _belongs(above, own.absolute()):
        return _repository(above, model)
    return _repository(own, model)


def _repository(root: Path, model: Path, encoder: PurePosixPath = _HERE) -> Repository:
    relative = model.absolute().relative_to(root.absolute())
    return Repository(root, PurePosixPath(relative.as_posix()), encoder, modules_of(root))


def _homes(encoder: Path) -> tuple[Path, ...]:
    return encoder, encoder / SUBFOLDER


def _has_companions(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CONFIG_FILE, *TOKENIZER_FILES))


def _belongs(above: Path, own: Path) -> bool:
    """Whether what lies in the folder ``above`` is that of a model one folder down, in ``own``."""
    if any((above / name).is_file() for name in TOKENIZER_FILES):
        return True
    if not (above / CONFIG_FILE).is_file():
        return False
    try:
        return own.name == SUBFOLDER or bool(
            {"model_type", "architectures"} & set(read_json_object(above / CONFIG_FILE))
        )
    except ModelError:  # it may be a file of anything
        return False


def _encoder_folder(root: Path) -> PurePosixPath | None:
    """Return the folder of the first module, relative to ``root``; None where there is no modules.json of this kind."""
    try:
        modules = modules_of(root)
    except RepositoryError:  # it may be a file of anything; that of the repository is read again
        return None
    return modules[0].folder if modules else None


def modules_of(root: Path) -> tuple[ModuleEntry, ...]:
    """Return the entries of ``root/modules.json``, none without the file; raises RepositoryError for a malformed one."""
    path = root / MODULES_FILE
    if not path.is_file():
        return ()
    entries = read_json(path, RepositoryError)
    if not isinstance(entries, list) or not entries:
        raise RepositoryError(f"{path} is not a list of modules: get the file again")
    return tuple(_module(path, entry) for entry in entries)


def _module(path: Path, entry: Any) -> ModuleEntry:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("type", "path")):
        raise RepositoryError(f"{path}: a module has a type and a path; got {entry!r}")
    folder = PurePosixPath(entry["path"])
    if folder.is_absolute() or ".." in folder.parts or "\\" in entry["path"]:
        raise RepositoryError(f"{path}: the path {entry['path']!r} of a module leads out of the folder: correct it")
    return ModuleEntry(entry["type"].rpartition(".")[2], folder)
