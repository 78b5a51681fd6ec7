"""JSON both ways, and checks, for frozen dataclasses of settings."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.suggestions import did_you_mean
from squeeze_onnx.support.typed_fields import check_fields


@dataclass(frozen=True)
class Part:
    """Settings of one kind. A class of several parts has the fields of all, and checks each of them."""

    def __post_init__(self) -> None:
        check_fields(self)
        for part in reversed(type(self).__mro__):  # each alone, then what is across them
            if "check" in part.__dict__:
                part.check(self)  # type: ignore[attr-defined]

    def check(self) -> None:
        """Raise OptionError for a value that is out of range, or that contradicts another."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, tuples as lists."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Build from plain values; raises OptionError for a key this configuration does not have."""
        known = {field.name for field in fields(cls)}
        for key in document:
            if key not in known:
                raise OptionError(f"unknown configuration key {key!r}; known keys are {', '.join(sorted(known))}")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in document.items()})


def one_of(setting: str, value: str, known: Iterable[str]) -> None:
    """Raise OptionError, with what may have been meant, unless ``value`` is ``known``."""
    words = list(known)
    if value not in words:
        raise OptionError(f"`{setting}` is one of {', '.join(words)}; got {value!r}{did_you_mean(value, words)}")
