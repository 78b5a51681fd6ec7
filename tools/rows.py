"""A row: what was measured once, with the command that makes it again, and at which commit, where and with what it ran.

Rows lie in models/MODEL/results/KIND.json, a file for each kind of measurement of each model; `NAME` is ``MODEL/KIND/SLUG``.
No other file holds a measured number: tables and numbers of the pages are filled in from rows (`tools.pages`), and
`tools.recheck` runs them again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

FORMAT = "squeeze-onnx/rows/1"

Origin = Literal["ran", "changed", "recorded"]
"""What ``commit`` of a row is: it ran at that commit; at that commit with changes to the code that were not committed; or it was
written down before rows said so, and the commit is the first that holds it (what it ran at is not known)."""


@dataclass(frozen=True)
class Tolerance:
    """How far a value may be from the recorded one: ``absolute``, or a share of the recorded one, whichever is more.

    comparable_on: ``any`` machine, or the ``same`` processor only, as times are. why: what the width is taken from.
    """

    absolute: float = 0.0
    relative: float = 0.0
    comparable_on: Literal["any", "same"] = "any"
    why: str = ""

    def allows(self, recorded: float) -> float:
        """Return the largest difference from ``recorded`` that is no drift."""
        return max(self.absolute, self.relative * abs(recorded))

    def to_json(self) -> dict[str, Any]:
        """Return what is not the default."""
        told = {
            "absolute": self.absolute,
            "relative": self.relative,
            "comparable_on": self.comparable_on,
            "why": self.why,
        }
        return {key: value for key, value in told.items() if value != getattr(Tolerance(), key)}


@dataclass(frozen=True)
class Machine:
    """What a row ran on. None: it was not written down."""

    processor: str | None = None
    instruction_sets: tuple[str, ...] | None = None
    cores: int | None = None
    threads: int | None = None

    def compares_with(self, other: Self) -> bool:
        """Say whether times of both may be held against each other."""
        mine, theirs = ((each.processor, each.instruction_sets, each.cores, each.threads) for each in (self, other))
        return self.processor is not None and mine == theirs

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        sets = None if self.instruction_sets is None else list(self.instruction_sets)
        return {"processor": self.processor, "instruction_sets": sets, "cores": self.cores, "threads": self.threads}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        sets = told["instruction_sets"]
        return cls(told["processor"], None if sets is None else tuple(sets), told["cores"], told["threads"])


@dataclass(frozen=True)
class Row:
    """One measurement.

    label: how tables call it. command: what follows ``python -m`` to make this row and no other; None where nothing makes it
    again. values: what came out, JSON. tolerance: key in ``values`` (``a.b`` for a key in a key) → how far it may drift; keys
    that are not in it are not compared. seconds: wall time of the command, ``shared_seconds`` of them for what rows of the same
    command and the same ``shares`` need only once. speed: it measures time, which only a quiet machine can.
    """

    name: str
    label: str
    command: tuple[str, ...] | None
    values: Mapping[str, Any]
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    commit: str | None = None
    origin: Origin = "ran"
    date: str | None = None
    machine: Machine = Machine()
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    shared_seconds: float = 0.0
    shares: str | None = None
    speed: bool = False

    @property
    def model(self) -> str:
        """The folder in models/."""
        return self.name.split("/")[0]

    @property
    def kind(self) -> str:
        """The file in results/, without its suffix."""
        return self.name.split("/")[1]

    @property
    def repeats(self) -> bool:
        """Say whether running it again can show a drift."""
        return self.command is not None and bool(self.tolerance)

    def value(self, key: str) -> Any:
        """Return a value by its key, ``a.b`` for one in another; KeyError names the row."""
        found: Any = self.values
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                raise KeyError(f"{self.name} has no {key}")
            found = found[part]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is kept."""
        return {
            "name": self.name,
            "label": self.label,
            "command": None if self.command is None else list(self.command),
            "commit": self.commit,
            "origin": self.origin,
            "date": self.date,
            "machine": self.machine.to_json(),
            "versions": dict(self.versions),
            "seconds": self.seconds,
            "shared_seconds": self.shared_seconds,
            "shares": self.shares,
            "speed": self.speed,
            "values": dict(self.values),
            "tolerance": {key: tolerance.to_json() for key, tolerance in self.tolerance.items()},
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        command = told["command"]
        return cls(
            **{
                **told,
                "command": None if command is None else tuple(command),
                "machine": Machine.from_json(told["machine"]),
                "tolerance": {key: Tolerance(**each) for key, each in told["tolerance"].items()},
            }
        )


def slug(label: str) -> str:
    """Return ``label`` as the last part of a name: small letters, digits and points, hyphens between them."""
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-.")


def name_of(place: str, label: str) -> str:
    """Return the name of the row ``label`` of ``place``, which is MODEL/KIND."""
    return f"{place}/{slug(label)}"
