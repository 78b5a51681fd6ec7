"""What people call a model that lies where they never looked: one given in memory, or fetched from a hub.

with called("the model in memory", folder): …    messages and reports say that, wherever a path below the folder would stand
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from squeeze_onnx.support.errors import SqueezeError


@dataclass(frozen=True)
class _Named:
    folder: Path
    name: str
    address: str | None


_names: ContextVar[tuple[_Named, ...]] = ContextVar("_names", default=())


@contextmanager
def called(name: str, folder: Path, address: str | None = None) -> Iterator[None]:
    """Call the model in ``folder`` by ``name`` while the block lasts, in the errors that leave it too.

    Where ``folder`` has an ``address`` that people know, files in it are named behind that; otherwise the name stands for all.
    """
    token = _names.set((*_names.get(), _Named(folder.absolute(), name, address)))
    try:
        yield
    except SqueezeError as error:
        error.args = (in_words(str(error)),)
        raise
    finally:
        _names.reset(token)


def given_name(path: Path) -> str | None:
    """Return what people call the model at ``path``; None where they gave its path."""
    return next((named.name for named in _names.get() if path.absolute().is_relative_to(named.folder)), None)


def in_words(sentence: str) -> str:
    """Return ``sentence`` with names in place of paths below their folders."""
    for named in reversed(_names.get()):  # what was named last is the nearest to what people know
        if named.address is None:
            sentence = sentence.replace(f"{named.folder}/model.onnx", named.name)
        sentence = sentence.replace(str(named.folder), named.address or named.name)
    return sentence
