"""Configs from plain values: which ones the annotations of a frozen dataclass allow, and the same as JSON Schema.

It knows the annotations that the configs of this package have: str, int, float, bool, Path, Literal, unions and None, tuples
of one type and mappings from strings.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import field_of, other_names, unknown_name
from squeeze_onnx.support.setting_names import call_settings

T = TypeVar("T")

_FIELD_LINE = re.compile(r"^(\w+): (.+(?:\n    .+)*)", re.MULTILINE)

_JSON_TYPES: dict[Any, str] = {str: "string", Path: "string", int: "integer", float: "number", bool: "boolean"}
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


Place = Callable[[str], str]
"""Says where a key stands, in the words that an error begins with; of ``""`` where the whole is."""


def build(kind: type[T], values: Mapping[str, Any], place: Place, folder: Path) -> T:
    """Build the dataclass ``kind`` of ``values``; paths are relative to ``folder``, lists become tuples.

    A name that may be a path or something else (a folder of data, or one on a hub) is a path if there is such a thing.

    Raises OptionError, beginning with the ``place`` of the key, for a key that ``kind`` does not have under this or another name
    (`field_of`), a value of another type, and what ``kind`` refuses.
    """
    hints, written = get_type_hints(kind), dict[str, str]()
    for key, value in values.items():
        field = field_of(key, hints)
        if field is None:
            raise OptionError(f"{place(key)}: {unknown_name(key, hints)}")
        if field in written:
            raise OptionError(f"{place(key)}: {key} is the same as {written[field]}, which is given too: leave one out")
        if not _fits(value, schema_of(hints[field])):
            raise OptionError(f"{place(key)}: {key} is {_in_words(schema_of(hints[field]))}; got {value!r}")
        written[field] = key
    try:
        return kind(**{field: _converted(values[key], hints[field], folder) for field, key in written.items()})
    except TypeError as error:
        raise OptionError(f"{place('')}: {str(error).partition('missing ')[2] or error} must be given") from error
    except OptionError as error:
        sentence, first = _in_written_names(str(error).removeprefix(f"{kind.__name__}: "), hints, written)
        raise OptionError(f"{place(first)}: {sentence}") from error


def _in_written_names(sentence: str, hints: Mapping[str, Any], written: Mapping[str, str]) -> tuple[str, str]:
    """Return ``sentence`` with the keys in place of settings, and the first key in it (empty if none is)."""
    named: list[str] = []

    def key_of(name: str, on: bool) -> str | None:
        field = field_of(name, hints)
        if field is None:
            return None
        if field in written:
            named.append(written[field])
        return written.get(field, field) + ("" if on else " = false")

    told = call_settings(sentence, key_of)
    first = told.split(" ", 1)[0]
    return told, next(iter(named), first if first in written.values() else "")


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
    """Return the JSON Schema of the values that `build` takes for the dataclass ``kind``, under every name that a field has."""
    told, properties = descriptions_of(kind), dict[str, Any]()
    for field, hint in get_type_hints(kind).items():
        schema = schema_of(hint)
        properties[field] = {"description": told[field], **schema} if field in told else schema
        properties |= {name: {"description": f"The same as {field}.", **schema} for name in other_names(field)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def descriptions_of(kind: type) -> dict[str, str]:
    """Return what the docstrings of ``kind`` and its bases say of each field, in lines such as ``rows: how many are read``."""
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        for field, text in _FIELD_LINE.findall(inspect.cleandoc(base.__dict__.get("__doc__") or "")):
            told[field] = " ".join(text.split())
    return told


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
