"""Below every table: the commits, the processors and the versions that its rows come from."""

from collections.abc import Iterable

from tools.rows import Row


def provenance_line(rows: Iterable[Row]) -> str:
    """Return one line of markdown about all of ``rows``; what was not written down is said to be so."""
    known = list(rows)
    where = _distinct(machine_of(row) for row in known)
    commits = _distinct((row.commit or "unknown")[:7] + {"changed": " (changed)"}.get(row.origin, "") for row in known)
    dates = sorted({row.date for row in known if row.date})
    span = "" if not dates else f", {dates[0]}" + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")
    versions = _distinct(row.versions.get("onnxruntime", "") for row in known)
    runtime = f"; ONNX Runtime {', '.join(versions)}" if versions else ""
    count = f"{len(known)} row{'' if len(known) == 1 else 's'}"
    return f"<sub>{count}, commit {', '.join(commits)}{span}; {'; '.join(where)}{runtime}.</sub>"


def machine_of(row: Row) -> str:
    """Say what a row ran on."""
    machine = row.machine
    if machine.processor is None:
        return "processor not written down"
    threads = f", {machine.threads} thread{'s' if machine.threads > 1 else ''}" if machine.threads else ""
    sets = " ".join(machine.instruction_sets or ())
    return f"{machine.processor} ({machine.cores} cores{threads}; {sets})"


def _distinct(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
