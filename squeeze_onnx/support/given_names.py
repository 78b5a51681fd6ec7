"""What people call a file that lies where they never looked: a model given in memory, or fetched from the hub.

with called("the model in memory", folder): …    messages and reports say that, wherever a path below the folder would stand
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from squeeze_onnx.support.errors import SqueezeError

_names: ContextVar[tuple[tuple[Path, str], ...]] = ContextVar("_names", default=())


@contextmanager
def called(name: str, folder: Path) -> Iterator[None]:
    """Call what lies in ``folder`` by ``name`` while the block lasts, in the errors that leave it too."""
    token = _names.set((*_names.get(), (folder.absolute(), name)))
    try:
        yield
    except SqueezeError as error:
        error.args = (in_words(str(error)),)
        raise
    finally:
        _names.reset(token)


def given_name(path: Path) -> str | None:
    """Return what people call the model at ``path``; None where they gave its path."""
    return next((name for folder, name in _names.get() if path.absolute().is_relative_to(folder)), None)


def in_words(sentence: str) -> str:
    """Return ``sentence`` with names in place of paths below their folders; a file beside the model is named behind it."""
    for folder, name in _names.get():
        for model in ("/onnx/model.onnx", "/model.onnx", ""):
            sentence = sentence.replace(f"{folder}{model}", name)
    return sentence
