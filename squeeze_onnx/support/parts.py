"""Parts of a config that is put together of several: read as ``config.budget``, given as ``Config(budget=Budget(keep=0.5))``."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Generic, TypeVar, overload

from squeeze_onnx.support.errors import OptionError

P = TypeVar("P")


class PartOf(Generic[P]):
    """The attribute of a config that holds the settings of one of the dataclasses it derives from."""

    def __init__(self, kind: type[P]) -> None:
        self.kind = kind

    @overload
    def __get__(self, config: None, owner: type) -> "PartOf[P]": ...

    @overload
    def __get__(self, config: object, owner: type) -> P: ...

    def __get__(self, config: object | None, owner: type) -> "PartOf[P] | P":
        """Return the part of ``config``; of the class, this attribute."""
        if config is None:
            return self
        return self.kind(**{field.name: getattr(config, field.name) for field in fields(self.kind)})  # type: ignore[arg-type]

    def settings(self, given: object, name: str) -> Mapping[str, Any]:
        """Return what a part, or a dict of its settings, says by name; raises OptionError, which calls it ``name``."""
        if isinstance(given, Mapping) and all(isinstance(key, str) for key in given):
            given = self.kind(**given)
        if not isinstance(given, self.kind):
            kind = self.kind.__name__
            raise OptionError(f"{name} is a {kind} or a dict of its settings; got {type(given).__name__}")
        return {field.name: getattr(given, field.name) for field in fields(self.kind)}  # type: ignore[arg-type]


def spread(kind: type, named: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give each setting of ``named`` with its value, those of a part of ``kind`` one by one; raises as `PartOf.settings` does."""
    for name, value in named.items():
        part = getattr(kind, name.replace("-", "_"), None)
        if isinstance(part, PartOf):
            yield from part.settings(value, name).items()
        else:
            yield name, value
