"""Reading the modules behind the encoder in modules.json of sentence-transformers: their kinds, configurations and weights.

After the pooling a module takes the vector of a text. Without a pooling, as PyLate (Chaffin & Sourty 2025, arXiv 2508.03555)
saves ColBERT models, it takes the vector of every token.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from squeeze_onnx.data.embedding import Activation, DenseLayer, EmbeddingModule, LayerNorm, Normalize
from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import CONFIG_FILE, MODULES_FILE, ModuleEntry, Repository, modules_of
from squeeze_onnx.data.safetensors import read_safetensors
from squeeze_onnx.data.sentence_files import compares_tokens
from squeeze_onnx.support.errors import RepositoryError

_ENCODERS = ("Transformer", "BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet", "T5")
"""Kinds of a first module that hand through what the graph returns; all but the first are of versions before 0.3."""

_ROUTERS = ("Router", "Asym")
_ROUTER_FILES = ("router_config.json", CONFIG_FILE)
_DEPTH = 2
"""How many folders above an encoder the modules.json of its router is looked for."""

_WEIGHTS, _PICKLE = "model.safetensors", "pytorch_model.bin"
_POOLED, _OF_TOKENS = "sentence_embedding", "token_embeddings"
"""What modules after the pooling, and before it, read and return, unless their configuration says otherwise."""


def check_modules(repository: Repository) -> None:
    """Raise RepositoryError if ``repository`` has a module of a kind that is not known, or is one of a router's encoders.

    What a text is answered with cannot be told then, whatever the graph returns.
    """
    unknown = unknown_module(repository)
    if unknown is not None:
        raise RepositoryError(
            f"{repository.root / MODULES_FILE} has a module {unknown}, with which an embedding cannot be computed here; known "
            f"are Transformer, Pooling, {', '.join(_READERS)}: name the output that is the answer (`answer`), and it is left out"
        )
    router = _router_above(repository)
    if router is not None:
        raise RepositoryError(
            f"{router[0]} has a module {router[1]}, of which {repository.root} is one route, and what each returns is not read "
            "here: name the pooling of this encoder (`pooling`) to squeeze it alone"
        )


def unknown_module(repository: Repository) -> str | None:
    """Return the kind of the first module that is not known at its place; None if all are."""
    kinds = [entry.kind for entry in repository.modules]
    if kinds and kinds[0] not in _ENCODERS:
        return kinds[0]
    return next((kind for kind in kinds[1:] if kind not in ("Pooling", "Dropout", *_READERS)), None)


def _router_above(repository: Repository) -> tuple[Path, str] | None:
    """Return the modules.json whose router sends texts to this encoder, and what kind of module that is."""
    if repository.modules:
        return None
    own = (repository.root / repository.encoder).absolute()
    for above in own.parents[:_DEPTH]:
        for entry in _modules_or_none(above):
            if entry.kind in _ROUTERS and own in _routes(above / entry.folder):
                return above / MODULES_FILE, entry.kind
    return None


def _modules_or_none(folder: Path) -> tuple[ModuleEntry, ...]:
    try:
        return modules_of(folder)
    except RepositoryError:  # it may be a file of anything
        return ()


def _routes(folder: Path) -> set[Path]:
    """Return the folders of the modules that the router in ``folder`` names."""
    path = next((path for name in _ROUTER_FILES if (path := folder / name).is_file()), None)
    structure = None if path is None else read_json_object(path, RepositoryError).get("structure")
    routes = structure.values() if isinstance(structure, dict) else ()
    return {folder / str(name) for route in routes if isinstance(route, list) for name in route}


def read_modules(repository: Repository) -> tuple[EmbeddingModule, ...]:
    """Return what follows the pooling; a list without one belongs to a graph that pools.

    Raises RepositoryError for a module that is not known, or whose files cannot be followed.
    """
    kinds = [entry.kind for entry in repository.modules]
    first = kinds.index("Pooling") + 1 if "Pooling" in kinds else 1
    before = [kind for kind in kinds[1 : first - 1] if kind != "Dropout"]
    if before:
        raise RepositoryError(
            f"{repository.root / MODULES_FILE} has a module {before[0]} before the pooling, with which an embedding cannot be "
            f"computed here; known after the pooling are {', '.join(_READERS)}"
        )
    return _read(repository, repository.modules[first:], _POOLED)


def read_token_modules(repository: Repository) -> tuple[EmbeddingModule, ...]:
    """Return what every token's vector goes through: the modules before a pooling, or all of them where nothing pools."""
    kinds = [entry.kind for entry in repository.modules]
    end = kinds.index("Pooling") if "Pooling" in kinds else None
    return _read(repository, repository.modules[1:end], _OF_TOKENS)


def vectors_of_tokens(repository: Repository) -> bool:
    """Say whether the files are those of a model that answers with a vector for every token, as PyLate writes them."""
    kinds = [entry.kind for entry in repository.modules]
    return "Pooling" not in kinds and ("Dense" in kinds or compares_tokens(repository))


def _read(repository: Repository, entries: Iterable[ModuleEntry], of: str) -> tuple[EmbeddingModule, ...]:
    if unknown_module(repository) is not None:
        check_modules(repository)
    modules: list[EmbeddingModule] = []
    for entry in entries:
        if entry.kind != "Dropout":  # only in training
            modules.append(_READERS[entry.kind](repository.root, entry, of))
    _check_widths(repository, modules)
    return tuple(modules)


def _check_widths(repository: Repository, modules: list[EmbeddingModule]) -> None:
    width = None
    for module in modules:
        if None not in (width, module.in_features) and width != module.in_features:
            raise RepositoryError(
                f"{repository.root / MODULES_FILE}: a module returns {width} numbers and the next one takes {module.in_features}"
            )
        width = module.out_features or width


def _read_dense(root: Path, entry: ModuleEntry, of: str) -> EmbeddingModule:
    path, values = _config(root, entry, of)
    tensors, digest = _weights(root / entry.folder)
    if values.get("bias", True) and "linear.bias" not in tensors:
        raise RepositoryError(
            f"{root / entry.folder / _WEIGHTS} has no linear.bias, which {path} asks for: get it again"
        )
    return DenseLayer(
        file=(entry.folder / _WEIGHTS).as_posix(),
        sha256=digest,
        activation=read_activation(path, values.get("activation_function", "torch.nn.modules.activation.Tanh")),
        adds_input=bool(values.get("use_residual", False)),
        weight=_tensor(root, entry, tensors, "linear.weight", 2).T,
        bias=_tensor(root, entry, tensors, "linear.bias", 1) if values.get("bias", True) else None,
        residual=_tensor(root, entry, tensors, "residual.weight", 2).T if "residual.weight" in tensors else None,
    )


def _read_layer_norm(root: Path, entry: ModuleEntry, of: str) -> EmbeddingModule:
    tensors, digest = _weights(root / entry.folder)
    return LayerNorm(
        (entry.folder / _WEIGHTS).as_posix(),
        digest,
        _tensor(root, entry, tensors, "norm.weight", 1),
        _tensor(root, entry, tensors, "norm.bias", 1),
    )


def _read_normalize(root: Path, entry: ModuleEntry, of: str) -> EmbeddingModule:
    if entry.folder.parts and (root / entry.folder / CONFIG_FILE).is_file():
        _config(root, entry, of)
    return Normalize()


_READERS: Mapping[str, Callable[[Path, ModuleEntry, str], EmbeddingModule]] = {
    "Dense": _read_dense,
    "LayerNorm": _read_layer_norm,
    "Normalize": _read_normalize,
}


def _config(root: Path, entry: ModuleEntry, of: str) -> tuple[Path, dict[str, Any]]:
    """Return the configuration of a module that reads what is called ``of``; PyLate leaves the pooled name where it was."""
    path = root / entry.folder / CONFIG_FILE
    values = read_json_object(path, RepositoryError)
    for key in ("module_input_name", "module_output_name"):
        if values.get(key) not in (None, _POOLED, of):
            raise RepositoryError(f"{path}: {key} is {values[key]!r}; a module at this place has {of} only")
    return path, values


def _weights(folder: Path) -> tuple[Mapping[str, np.ndarray], str]:
    """Return the tensors of a module and the SHA-256 of their file."""
    path = folder / _WEIGHTS
    if path.is_file():
        return read_safetensors(path), hashlib.sha256(path.read_bytes()).hexdigest()
    if (folder / _PICKLE).is_file():
        raise RepositoryError(
            f"{folder / _PICKLE} can be read by PyTorch only: SentenceTransformer(FOLDER).save_pretrained(NEW) writes a "
            f"{_WEIGHTS} in its place"
        )
    raise RepositoryError(f"{path} is missing: get the whole repository")


def _tensor(root: Path, entry: ModuleEntry, tensors: Mapping[str, np.ndarray], name: str, axes: int) -> np.ndarray:
    found = tensors.get(name)
    if found is None or found.ndim != axes:
        path = root / PurePosixPath(entry.folder) / _WEIGHTS
        raise RepositoryError(f"{path} has no {name} of {axes} axes, but {', '.join(sorted(tensors))}: get it again")
    return found


def read_activation(path: Path, name: Any) -> Activation:
    """Return the function of which ``path`` says the ``name``, as torch has it; raises RepositoryError for an unknown one."""
    prefix, _, kind = str(name).rpartition(".")
    if not prefix.startswith("torch.") or kind not in list(Activation):
        raise RepositoryError(f"{path}: activation_function {name!r} is not one of torch's {', '.join(Activation)}")
    return Activation(kind)
