"""Configs from plain values: which ones the annotations of a frozen dataclass allow, and the same as JSON Schema.

It knows the annotations that the configs of this package have: str, int, float, bool, Path, Literal, unions and None, tuples
of one type and mappings from strings.
"""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from squeeze_onnx.support.errors import OptionError

T = TypeVar("T")

_JSON_TYPES: dict[Any, str] = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean"}
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def build(kind: type[T], values: Mapping[str, Any], where: str, folder: Path) -> T:
    """Build the dataclass ``kind`` of ``values``; paths are relative to ``folder``, lists become tuples.

    A name that may be a path or something else (a folder of data, or one on a hub) is a path if there is such a thing.

    Raises OptionError, beginning with ``where``, for a key that ``kind`` does not have, a value of another type, and what
    ``kind`` refuses.
    """
    hints = get_type_hints(kind)
    for key, value in values.items():
        if key not in hints:
            raise OptionError(f"{where}: unknown key {key!r}; known keys are {', '.join(sorted(hints))}")
        if not _fits(value, schema_of(hints[key])):
            raise OptionError(f"{where}: {key} is {_in_words(schema_of(hints[key]))}; got {value!r}")
    try:
        return kind(**{key: _converted(value, hints[key], folder) for key, value in values.items()})
    except TypeError as error:
        raise OptionError(f"{where}: {str(error).partition('missing ')[2] or error} must be given") from error
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def check_fields(instance: Any, kind: type | None = None) -> None:
    """Raise OptionError, naming the field, unless every field of ``instance`` (those of its base ``kind``) has its type.

    A path may be given as text and text as a path, a list for a tuple: they become what the annotation says. Fields of a few
    words (Literal) are left to the dataclass, which says more.
    """
    for name, hint in get_type_hints(kind or type(instance)).items():
        value, schema = getattr(instance, name), schema_of(hint)
        if any("enum" in option for option in schema.get("anyOf", [schema])):
            continue
        allows_none = NoneType in get_args(hint)
        if not (value is None and allows_none) and not _fits(_plain(value), schema):
            raise OptionError(f"{name} is {_in_words(schema)}; got {value!r}")
        settled = _settled(value, hint)
        if settled is not value:
            object.__setattr__(instance, name, settled)


def _settled(value: Any, hint: Any) -> Any:
    """Return ``value``, which fits, as ``hint`` has it."""
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, str) and Path in choices and str not in choices:
        return Path(value)
    if isinstance(value, Path) and Path not in choices:
        return str(value)
    if isinstance(value, list | tuple):
        items = next(get_args(choice)[0] for choice in choices if get_origin(choice) is tuple)
        settled = tuple(_settled(item, items) for item in value)
        return value if settled == value else settled
    return value


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON would have it: lists for tuples, text for paths."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def object_schema(kind: type) -> dict[str, Any]:
    """Return the JSON Schema of the values that `build` takes for the dataclass ``kind``."""
    properties = {key: schema_of(hint) for key, hint in get_type_hints(kind).items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of one annotation; None, which TOML cannot say, is left out."""
    if get_origin(hint) in (Union, UnionType):
        options = [schema_of(option) for option in get_args(hint) if option is not NoneType]
        distinct = [option for index, option in enumerate(options) if option not in options[:index]]
        return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": schema_of(get_args(hint)[0])}
    if get_origin(hint) is Mapping:
        return {"type": "object", "additionalProperties": schema_of(get_args(hint)[1])}
    return {"type": _JSON_TYPES[hint]}


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "array":
        return isinstance(value, list) and all(_fits(item, schema["items"]) for item in value)
    if schema["type"] == "object":
        return isinstance(value, dict) and all(_fits(item, schema["additionalProperties"]) for item in value.values())
    return isinstance(value, _CLASSES[schema["type"]]) and (schema["type"] == "boolean" or not isinstance(value, bool))


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if schema["type"] == "array":
        return f"a list, each item {_in_words(schema['items'])}"
    if schema["type"] == "object":
        return f"a table, each value {_in_words(schema['additionalProperties'])}"
    return f"{'an' if schema['type'] == 'integer' else 'a'} {schema['type']}"


def _converted(value: Any, hint: Any, folder: Path) -> Any:
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, list):
        items = next(get_args(choice)[0] for choice in choices if get_origin(choice) is tuple)
        return tuple(_converted(item, items, folder) for item in value)
    if isinstance(value, str) and Path in choices and (str not in choices or (folder / value).exists()):
        return folder / value
    return value
