"""The names of settings: those of a config's fields, and those that options of the command line have for the same."""

import inspect
from collections.abc import Iterable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.parts import spread
from squeeze_onnx.support.suggestions import did_you_mean

T = TypeVar("T")

OPTION_NAMES = {
    "calibration": "source",
    "calibration_rows": "rows",
    "max_length": "max_tokens",
    "provider": "providers",
    "metric": "metrics",
    "batch_size": "batch_sizes",
    "sequence_length": "sequence_lengths",
    "license": "licence",
}
"""What options, or other spellings, are called → the field that is the same, in a config that has it."""


def field_of(written: str, known: Iterable[str]) -> str | None:
    """Return the field among ``known`` that this name means, None if there is none; hyphens are underscores."""
    plain, names = written.lstrip("-").replace("-", "_"), set(known)
    return next((name for name in (plain, OPTION_NAMES.get(plain, "")) if name in names), None)


def other_names(field: str) -> tuple[str, ...]:
    """Return the other names that `field_of` takes for ``field``, as options spell them."""
    same = [option for option, name in OPTION_NAMES.items() if name == field]
    spelled = [name.replace("_", "-") for name in (field, *same)] + same
    return tuple(name for name in dict.fromkeys(spelled) if name != field)


def unknown_name(written: object, known: Iterable[str], what: str = "key") -> str:
    """Say that a name is unknown, and which one may have been meant, or else which ones there are."""
    names = sorted(known)
    near = did_you_mean(str(written).replace("-", "_"), names)
    return f"unknown {what} {written!r}{near or '; known are ' + ', '.join(names)}"


def made_by_name(kind: type[T]) -> type[T]:
    """Let the dataclass ``kind`` be made with the names of options too, and of its parts; what it has not is an OptionError."""
    make = kind.__init__
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    signature = inspect.signature(make)

    @wraps(make)
    def made(self: T, *values: Any, **named: Any) -> None:
        settings = {}
        for written, value in spread(kind, named):
            field = field_of(written, names)
            if field is None:
                raise OptionError(f"{kind.__name__}: {unknown_name(written, names, 'setting')}")
            if field in settings:
                raise OptionError(f"{kind.__name__}: {field} is given twice, once as {written}")
            settings[field] = value
        try:
            signature.bind(self, *values, **settings)
        except TypeError as error:
            said = str(error).partition("missing a required argument: ")[2]
            fault = f"{said} must be given" if said else f"{error}; it takes {', '.join(names)}"
            raise OptionError(f"{kind.__name__}: {fault}") from error
        make(self, *values, **settings)

    kind.__init__ = made  # type: ignore[method-assign, assignment]
    return kind
