"""MODEL on the command line: a file, a folder, or ``hf://org/name``, which is fetched before a command starts."""

import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

SCHEME = "hf://"


OFFLINE = click.option(
    "--offline", is_flag=True, help="Take hf:// models from the cache of huggingface_hub, and fetch nothing."
)


class ModelPath(click.Path):
    """A path, or the name of a model on a hub, left as text: a path would lose one of its slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what is given as a path, but for a name."""
        if isinstance(value, str) and value.startswith(SCHEME):
            return value
        return super().convert(value, param, ctx)


MODEL = ModelPath(path_type=Path)


_NAME = re.compile(r"(?:https?:/[\w.-]+/)?([A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w.-]+)?)/?")
"""A name of a repository, alone or as the address of its page, as a path has it."""


def _refuse_name(given: Path) -> None:
    """Raise ModelError for what is no path here, but would be a name on a hub."""
    named = _NAME.fullmatch(str(given))
    if named is None or given.suffix == ".onnx" or given.parent.exists():
        return
    from squeeze_onnx.support.errors import ModelError

    address = str(given).replace(":/", "://")  # a path loses one of its slashes
    raise ModelError(
        f"{address} does not exist here; a repository of that name on a hub is given as {SCHEME}{named[1]}"
    )


def from_hub(*names: str) -> Callable[[F], F]:
    """Fetch those arguments of a command, called ``names``, that are ``hf://…``; it gets the paths, and messages the names.

    The command has the option ``--offline`` then.
    """

    def decorate(command: F) -> F:
        @OFFLINE
        @wraps(command)
        def fetched(*arguments: Any, offline: bool, **options: Any) -> Any:
            with ExitStack() as stack:

                def path_of(given: Path | str) -> Path:
                    if isinstance(given, Path):
                        _refuse_name(given)
                        return given
                    from squeeze_onnx.data.hub import hub_model

                    return stack.enter_context(
                        hub_model(given, offline=offline, silent=options["quiet"] or not sys.stderr.isatty())
                    )

                for name in names:
                    given = options[name]
                    options[name] = tuple(map(path_of, given)) if isinstance(given, tuple) else path_of(given)
                return command(*arguments, **options)

        return fetched  # type: ignore[return-value]

    return decorate
