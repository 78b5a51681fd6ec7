"""The files that rows lie in: models/MODEL/results/KIND.json."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tools.rows import FORMAT, Row

ROOT = Path(__file__).resolve().parent.parent


def file_of(name: str, root: Path = ROOT) -> Path:
    """Return the file of the row ``name``, or of all rows of ``MODEL/KIND``."""
    model, kind = name.split("/")[:2]
    return root / "models" / model / "results" / f"{kind}.json"


def read_rows(path: Path) -> dict[str, Row]:
    """Return the rows of a file by name, in its order; none where there is no file. Raises ValueError for another format."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold rows: its format is {document.get('format')!r}, not {FORMAT!r}")
    rows = [Row.from_json(told) for told in document["rows"]]
    return {row.name: row for row in rows}


def rows_of(model: str, kind: str, root: Path = ROOT) -> dict[str, Row]:
    """Return what was measured of a kind by label."""
    return {row.label: row for row in read_rows(file_of(f"{model}/{kind}", root)).values()}


def all_rows(root: Path = ROOT) -> dict[str, Row]:
    """Return every row there is by name."""
    files = sorted((root / "models").glob("*/results/*.json"))
    return {name: row for path in files for name, row in read_rows(path).items()}


def keep(rows: Iterable[Row], root: Path = ROOT) -> None:
    """Put ``rows`` into their files, each in the place of the row of its name, or at the end."""
    files: dict[Path, list[Row]] = {}
    for row in rows:
        files.setdefault(file_of(row.name, root), []).append(row)
    for path, found in files.items():
        write_rows(path, (read_rows(path) | {row.name: row for row in found}).values())


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a file of rows; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "rows": [row.to_json() for row in rows]}
    staged = path.with_name(f".{path.name}.part")
    staged.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    staged.replace(path)


def read_journal(path: Path) -> Iterator[Row]:
    """Yield the rows of a journal, one a line; a line that was cut off when its writer was killed is no row."""
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield Row.from_json(json.loads(line))


def add_to_journal(path: Path, row: Row) -> None:
    """Write ``row`` at the end of a journal, on a line of its own even after one that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{json.dumps(row.to_json(), ensure_ascii=False)}\n")
