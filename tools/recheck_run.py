"""Rows made again, job after job: what came out, held against what is recorded, and recorded if that is wanted."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tools import row_files
from tools.drift import Comparison, compared
from tools.measuring import attachments_of
from tools.recheck_jobs import GRACE_SECONDS, PATIENCE, Job, run
from tools.row_files import ROOT, add_to_journal, read_journal
from tools.rows import Row

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a row: ``again`` is None if it could not be made."""

    recorded: Row
    again: Row | None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def word(self) -> str:
        """``ok``, ``drift`` or ``failed``."""
        if self.again is None:
            return "failed"
        return "drift" if any(each.drifted for each in self.comparisons) else "ok"

    def __str__(self) -> str:
        if self.again is None:
            return f"{self.word:6} {self.recorded.name}"
        shown = [each for each in self.comparisons if each.drifted] or sorted(
            self.comparisons, key=lambda each: -each.share
        )[:1]
        took = "" if self.again.seconds is None else f", {self.again.seconds:.0f} s"
        return f"{self.word:6} {self.recorded.name}: {'; '.join(map(str, shown))}{took}"


@dataclass
class Rechecking:
    """Rows that are made again in the folder ``work``, where the journals of what is done lie.

    record: write what came out into the files of ``root``. still_valid: asked before each job, whether the code is that of the
    journals still.
    """

    work: Path
    say: Say
    record: bool = False
    threads: int | None = None
    within: float | None = None
    root: Path = ROOT
    still_valid: Callable[[], bool] = lambda: True
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        self._log, self._before = self.work / "log.txt", self.work / "before.jsonl"

    def recorded(self, rows: Mapping[str, Row]) -> dict[str, Row]:
        """Return ``rows`` as they were when work in this folder began; what it recorded is not compared with itself."""
        before = {row.name: row for row in read_journal(self._before)}
        for name in rows.keys() - before.keys():
            add_to_journal(self._before, rows[name])
        return {name: before.get(name, row) for name, row in rows.items()}

    def carry_out(self, jobs: Sequence[Job]) -> bool:
        """Do ``jobs``; return whether all of them were begun."""
        began = monotonic()
        for number, job in enumerate(jobs, start=1):
            if not self.still_valid():
                self.say("The code has changed meanwhile: what comes now would be of another commit. Start again.")
                return False
            left = None if self.within is None else self.within - (monotonic() - began)
            if left is not None and left < job.seconds:
                self.say(f"{len(jobs) - number + 1} jobs are left for another time: the next takes {job.seconds:.0f} s")
                return False
            for outcome in self._outcomes_of(job):
                self.outcomes.append(outcome)
                self.say(f"[{number}/{len(jobs)}] {outcome}")
        return True

    def _outcomes_of(self, job: Job) -> Iterator[Outcome]:
        journal = self.work / f"{job.name}.jsonl"
        missing = [row.name for row in job.rows if row.name not in self._done(journal)]
        if missing:
            run(job.arguments(missing, journal, self.threads), self._log, PATIENCE * job.seconds + GRACE_SECONDS)
        done = self._done(journal)
        if self.record:
            self._keep(journal, [done[row.name] for row in job.rows if row.name in done])
        for row in job.rows:
            again = done.get(row.name)
            yield Outcome(row, again, () if again is None else tuple(compared(row, again)))

    def _done(self, journal: Path) -> dict[str, Row]:
        return {row.name: row for row in read_journal(journal)}

    def _keep(self, journal: Path, rows: Sequence[Row]) -> None:
        row_files.keep(rows, self.root)
        attachments = attachments_of(journal)
        if attachments.exists():
            shutil.copytree(attachments, self.root, dirs_exist_ok=True)
