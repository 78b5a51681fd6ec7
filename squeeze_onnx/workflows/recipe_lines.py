"""In which line of a squeeze.toml a key or a table stands."""

import re

_HEADER = re.compile(r"^\s*\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*(?:"([^"]+)"|'([^']+)'|([\w-]+))\s*=""")


def line_of(text: str, table: str, key: str = "") -> int | None:
    """Return the number of the line in which ``key`` of ``table`` stands, ``""`` for what is above all tables.

    Without a key, or for one that stands in an inline table, it is the line of the table; None if there is no such line.
    """
    within, of_table = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        header, named = _HEADER.match(line), _KEY.match(line)
        if header:
            within = header[1].strip("\"'")
            of_table = number if within == table else of_table
        elif named:
            name = named[1] or named[2] or named[3]
            if key and (within, name) == (table, key):
                return number
            of_table = number if table and (within, name) == ("", table) else of_table
    return of_table
