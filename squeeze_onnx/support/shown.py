"""Results as Python prints them: a short line, and a small table in a notebook."""

from collections.abc import Mapping
from html import escape
from typing import Any


class Shown:
    """A result that says in a few words what it is; the whole of it is what ``to_json`` returns."""

    def summary(self) -> Mapping[str, str]:
        """Return what matters most, name → value in words."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return one short line."""
        return f"{type(self).__name__}({', '.join(f'{name} {value}' for name, value in self.summary().items())})"

    def _repr_html_(self) -> str:
        """Return the same as a table, for a notebook."""
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self.summary().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
