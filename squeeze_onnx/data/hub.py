"""Models on a hub: ``hf://org/name[@revision][/file.onnx]``, fetched by huggingface_hub into its own cache.

Only what is named so is ever fetched, and of a repository only what belongs to one ONNX model: its file and external data,
configuration, tokenizer, further modules, licences. Endpoint, token, cache and offline mode are those of huggingface_hub
(``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``).
"""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from squeeze_onnx.data.companions import may_be_companion
from squeeze_onnx.data.json_files import read_json
from squeeze_onnx.data.repository import MODULES_FILE
from squeeze_onnx.graph.io.locate import MODEL_FILE, SUBFOLDER
from squeeze_onnx.graph.io.outline import external_locations
from squeeze_onnx.support.downloads import cache_folder
from squeeze_onnx.support.errors import MissingPackageError, ModelError, OptionError
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.staging import staged_folder

SCHEME = "hf://"

_NAME = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(refs/(?:pr|convert)/[\w.-]+|[\w.-]+))?(?:/(.+\.onnx))?")


@dataclass(frozen=True)
class HubModel:
    """A repository at a ``revision`` (None: the default one), and the .onnx ``file`` in it (None: the one in a usual place)."""

    repository: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, name: str) -> "HubModel":
        """Read what was given as MODEL; raises OptionError for what is malformed."""
        found = _NAME.fullmatch(name)
        if found is None or ".." in name:
            raise OptionError(
                f"{name} is no model on a hub: write hf://org/name, hf://org/name@revision or …/file.onnx"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        """Return it as it is given."""
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{SCHEME}{self.repository}{revision}" + ("" if self.file is None else f"/{self.file}")


def is_hub_name(model: object) -> bool:
    """Whether MODEL is one on a hub: nothing is guessed, it has to begin with ``hf://``."""
    return isinstance(model, str) and model.startswith(SCHEME)


@contextmanager
def hub_model(name: str, *, offline: bool = False, silent: bool = True) -> Iterator[Path]:
    """Fetch the model ``name`` and give its path, the folder or the .onnx file; messages of the block call it by its name.

    ``offline`` takes what lies in the cache and asks nobody; unless ``silent``, bars on stderr tell how far it got.

    Raises OptionError for a name that is malformed, MissingPackageError without huggingface_hub, and ModelError for what is not
    there, cannot be fetched, or holds no model that can be told from others.
    """
    asked = HubModel.parse(name)
    snapshot, file = _fetched(asked, offline=offline, silent=silent)
    root = _with_plain_files(asked, snapshot, file)
    with called(name, root, str(replace(asked, file=None))):
        yield root if asked.file is None else root / asked.file


@contextmanager
def located(model: Path | str, *, offline: bool = False) -> Iterator[Path]:
    """Give the path of MODEL, which is fetched if it `is_hub_name`; see `hub_model`."""
    with hub_model(str(model), offline=offline) if is_hub_name(model) else nullcontext(Path(model)) as path:
        yield path


def _fetched(asked: HubModel, *, offline: bool, silent: bool) -> tuple[Path, PurePosixPath]:
    """Return the folder of the snapshot, and the .onnx file in it."""
    hub = _import_hub(asked)
    offline = offline or hub.constants.HF_HUB_OFFLINE
    try:
        with _told(silent=silent):
            return _asked_of(hub, asked, offline=offline)
    except hub.errors.LocalEntryNotFoundError as error:
        if offline:
            raise ModelError(
                f"{asked} is not in the cache of huggingface_hub, and nothing may be fetched: leave out `offline` and "
                "HF_HUB_OFFLINE once"
            ) from error
        raise _unreachable(hub, asked, error) from error
    except hub.errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{asked} is not on {_endpoint(hub)}, or may not be seen: check the name, and HF_TOKEN for a private one"
        ) from error
    except hub.errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{asked}: the repository has no revision {asked.revision!r}: name a branch or commit"
        ) from error
    except hub.errors.HFValidationError as error:
        raise OptionError(f"{asked} is no name of a repository: {_line(error)}") from error
    except (OSError, hub.errors.HfHubHTTPError, *_http_errors()) as error:
        raise _unreachable(hub, asked, error) from error


def _asked_of(hub: Any, asked: HubModel, *, offline: bool) -> tuple[Path, PurePosixPath]:
    if offline:
        folder = Path(_snapshot(hub, asked, None, offline=True))
        return folder, _chosen(asked, _files_in(folder))
    listed = hub.HfApi(endpoint=_endpoint(hub)).model_info(asked.repository, revision=asked.revision)
    names = sorted(file.rfilename for file in listed.siblings or ())
    file = _chosen(asked, names)
    wanted = [str(file), *_companions(names, file)]
    folder = Path(_snapshot(hub, asked, wanted, offline=False))
    further = [*_external(folder, file), *_of_modules(folder, names)]
    if further:
        _snapshot(hub, asked, further, offline=False)
    return folder, file


def _import_hub(asked: HubModel) -> Any:
    try:
        import huggingface_hub  # noqa: PLC0415
        from huggingface_hub import constants, errors  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingPackageError(f"{asked} needs huggingface_hub: pip install 'squeeze-onnx[hub]'") from error
    return huggingface_hub


def _endpoint(hub: Any) -> str:
    """Return the address of the hub; huggingface_hub looks at the variable only once, when it is imported."""
    return (os.environ.get("HF_ENDPOINT") or hub.constants.ENDPOINT).rstrip("/")


def _http_errors() -> tuple[type[Exception], ...]:
    """Return what the client of huggingface_hub raises: requests up to 0.x, httpx from 1.0 on; neither is ours to depend on."""
    kinds: list[type[Exception]] = []
    for module, name in (("httpx", "HTTPError"), ("requests", "RequestException")):
        try:
            kinds.append(getattr(__import__(module), name))
        except ImportError:
            continue
    return tuple(kinds)


def _unreachable(hub: Any, asked: HubModel, error: Exception) -> ModelError:
    return ModelError(
        f"{asked} cannot be fetched from {_endpoint(hub)} ({_line(error)}): check the connection and HF_ENDPOINT; "
        "`offline` takes what was fetched before"
    )


def _line(error: BaseException) -> str:
    """Return the first line of the innermost reason: those around it are of the layers of a client."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:200]


@contextmanager
def _told(*, silent: bool) -> Iterator[None]:
    """Let huggingface_hub say nothing if ``silent``: what went wrong arrives as an exception."""
    utils: Any = import_module("huggingface_hub.utils")
    shown, level = not utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
    utils.logging.set_verbosity_error()
    if silent and shown:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(level)
        if silent and shown:
            utils.enable_progress_bars()


def _snapshot(hub: Any, asked: HubModel, files: Sequence[str] | None, *, offline: bool) -> str:
    folder: str = hub.snapshot_download(
        asked.repository,
        revision=asked.revision,
        endpoint=_endpoint(hub),
        cache_dir=hub.constants.HF_HUB_CACHE,
        allow_patterns=None if files is None else [re.sub(r"([\[?*])", r"[\1]", name) for name in files],
        local_files_only=offline,
    )
    return folder


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _chosen(asked: HubModel, names: Sequence[str]) -> PurePosixPath:
    """Return the .onnx file that is meant; raises ModelError if that is none or more than one."""
    models = [name for name in names if name.endswith(".onnx")]
    if asked.file is not None:
        if asked.file not in models:
            raise ModelError(f"{asked} is not in the repository; it holds {', '.join(models) or 'no .onnx file'}")
        return PurePosixPath(asked.file)
    usual = [name for name in (MODEL_FILE, f"{SUBFOLDER}/{MODEL_FILE}") if name in models]
    if usual or len(models) == 1:
        return PurePosixPath((usual or models)[0])
    if models:
        raise ModelError(
            f"{asked} holds several models, and none is {MODEL_FILE} or {SUBFOLDER}/{MODEL_FILE}: name one, such as "
            f"{asked}/{models[0]}, of {', '.join(models)}"
        )
    raise ModelError(
        f"{asked} holds no .onnx file: make one with `optimum-cli export onnx -m {asked.repository} DIR`, and give DIR"
    )


def _companions(names: Sequence[str], model: PurePosixPath) -> list[str]:
    """Return the files that may belong to the model by their names, in its folder and those above."""
    homes = {*model.parents}
    return [name for name in names if (path := PurePosixPath(name)).parent in homes and may_be_companion(path.name)]


def _external(folder: Path, model: PurePosixPath) -> list[str]:
    """Return the files beside the model that its weights lie in; what leads out of there is refused when it is read."""
    return [str(model.parent / location) for location in external_locations(folder / model)]


def _of_modules(folder: Path, names: Sequence[str]) -> list[str]:
    """Return the files of the modules behind the encoder, weights and all."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return []
    entries = read_json(path, ModelError)
    folders = (
        [entry.get("path") for entry in entries[1:] if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    return [
        name
        for name in names
        if any(isinstance(each, str) and each and name.startswith(f"{each}/") for each in folders)
    ]


def _with_plain_files(asked: HubModel, snapshot: Path, model: PurePosixPath) -> Path:
    """Return the snapshot, or a copy of it with files in place of links if weights lie outside the .onnx file.

    The cache of huggingface_hub keeps files elsewhere and links to them, and external data has to lie in the folder of its model.
    """
    if not any((snapshot / name).is_symlink() for name in _external(snapshot, model)):
        return snapshot
    copy = cache_folder() / "hub" / asked.repository.replace("/", "--") / snapshot.name
    if not (copy / model).is_file():
        with staged_folder(copy, force=True) as stage:
            shutil.copytree(snapshot, stage, dirs_exist_ok=True)
    return copy
