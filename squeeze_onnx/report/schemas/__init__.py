"""JSON Schema (draft 2020-12) of every JSON that this package writes and of the recipe it reads.

Readers should ignore keys they do not know: a report may gain some without a new ``format``.
"""

import json
from importlib.resources import files
from typing import Any, Literal

SchemaName = Literal["analysis", "bench", "forecast", "manifest", "plan", "recipe", "report", "run", "validation"]


def load_schema(name: SchemaName) -> dict[str, Any]:
    """Return a schema by name.

    ``analysis``, ``validation``, ``bench`` and ``run`` are those of the command line, ``forecast`` that of a dry run,
    ``recipe`` that of squeeze.toml.
    """
    schema: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return schema
