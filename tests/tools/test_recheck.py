"""Rows run again: drift is found, work is resumed, what came out is recorded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tools.pretend_bench import TOLERANCE
from tools import recheck
from tools.drift import Comparison, compared
from tools.recheck_jobs import jobs_of, run
from tools.recheck_run import Rechecking
from tools.row_files import all_rows, keep
from tools.rows import Machine, Row, Tolerance, name_of

Told = Callable[[dict[str, object]], Path]

SCORE = {"score": 0.86, "bytes": 1000}


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Say what the pretended tool measures; returns the file."""

    def tell(values: dict[str, object]) -> Path:
        path = tmp_path / "told.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        return path

    return tell


def recorded(label: str, path: Path, values: Mapping[str, object] = SCORE, **fields: object) -> Row:
    command = ("tests.tools.pretend_bench", "--told", str(path), "--row", label)
    name = name_of("pretended/quality", label)
    row = Row(name, label, command, values, TOLERANCE, "0" * 40, "recorded", shares="a survey", seconds=1.0)
    return replace(row, **fields)  # type: ignore[arg-type]


def rechecked(rows: list[Row], tmp_path: Path, **settings: object) -> tuple[Rechecking, list[str]]:
    said: list[str] = []
    checking = Rechecking(tmp_path / "work", said.append, root=tmp_path / "root", **settings)  # type: ignore[arg-type]
    checking.carry_out(jobs_of(checking.recorded({row.name: row for row in rows}).values()))
    return checking, said


def words(checking: Rechecking) -> dict[str, str]:
    return {outcome.recorded.label: outcome.word for outcome in checking.outcomes}


def test_what_drifts_is_found_and_what_does_not_passes(told: Told, tmp_path: Path) -> None:
    path = told(
        {
            "same": SCORE,
            "within": {"score": 0.8625, "bytes": 991},
            "worse": {"score": 0.8569, "bytes": 1000},
            "larger": {"score": 0.86, "bytes": 1011},
            "destroyed": {"score": None, "bytes": 1000},
            "less told": {"score": 0.86},
        }
    )
    checking, said = rechecked([recorded(label, path) for label in json.loads(path.read_text())], tmp_path)
    drifts = dict.fromkeys(("worse", "larger", "destroyed", "less told"), "drift")
    assert words(checking) == {"same": "ok", "within": "ok", **drifts}
    assert any("score 0.86 → 0.8569 (±0.003)" in line for line in said)


def test_a_row_that_cannot_be_made_fails_and_the_others_are_done(told: Told, tmp_path: Path) -> None:
    path = told({"first": SCORE, "second": None, "third": SCORE})
    checking, _ = rechecked([recorded(label, path) for label in ("first", "second", "third")], tmp_path)
    assert words(checking) == {"first": "ok", "second": "failed", "third": "failed"}


def test_what_was_done_is_not_done_again(told: Told, tmp_path: Path) -> None:
    path = told({"first": SCORE, "second": None})
    rows = [recorded(label, path) for label in ("first", "second")]
    rechecked(rows, tmp_path)
    told({"first": None, "second": SCORE})  # the first would go down now
    checking, _ = rechecked(rows, tmp_path)
    assert words(checking) == {"first": "ok", "second": "ok"}
    commands = (tmp_path / "work" / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.count("--row") for line in commands if line.startswith("$")] == [2, 1]


def test_what_came_out_is_recorded_with_its_files(told: Told, tmp_path: Path) -> None:
    path = told({"half": {"score": 0.9, "bytes": 1000}, "broken": None})
    rows = [recorded(label, path) for label in ("half", "broken")]
    keep(rows, tmp_path / "root")
    checking, _ = rechecked(rows, tmp_path, record=True)
    assert words(checking) == {"half": "drift", "broken": "failed"}
    found = all_rows(tmp_path / "root")
    assert found["pretended/quality/half"].values["score"] == 0.9
    assert found["pretended/quality/half"].machine.processor is not None
    assert found["pretended/quality/broken"] == rows[1]
    assert (tmp_path / "root/models/pretended/plans/half.json").is_file()


def test_a_recorded_row_is_held_against_what_was_there_before(told: Told, tmp_path: Path) -> None:
    path = told({"half": {"score": 0.9, "bytes": 1000}})
    keep([recorded("half", path)], tmp_path / "root")
    for _ in range(2):
        checking, _ = rechecked(list(all_rows(tmp_path / "root").values()), tmp_path, record=True)
        assert words(checking) == {"half": "drift"}


def test_nothing_is_done_once_the_code_has_changed(told: Told, tmp_path: Path) -> None:
    path = told({"half": SCORE})
    checking, said = rechecked([recorded("half", path)], tmp_path, still_valid=lambda: False)
    assert checking.outcomes == []
    assert "changed" in said[0]


def test_nothing_is_begun_that_would_not_end_in_time(told: Told, tmp_path: Path) -> None:
    path = told({"quick": SCORE, "slow": SCORE})
    rows = [recorded("slow", path, seconds=600.0, shares=None), recorded("quick", path, shares=None)]
    checking, said = rechecked(rows, tmp_path, within=300.0)
    assert words(checking) == {"quick": "ok"}
    assert "1 jobs are left" in said[-1]


def test_rows_that_share_work_are_one_process_and_the_cheapest_comes_first(tmp_path: Path) -> None:
    def row(label: str, seconds: float, shares: str | None) -> Row:
        return recorded(label, tmp_path, seconds=seconds, shares=shares, shared_seconds=50.0 if shares else 0.0)

    jobs = jobs_of([row("a", 70, "s"), row("b", 80, "s"), row("c", 90, None), row("d", 60, "t")])
    assert [[each.label for each in job.rows] for job in jobs] == [["d"], ["c"], ["a", "b"]]
    assert [job.seconds for job in jobs] == [60, 90, 100]
    assert len({job.name for job in jobs}) == 3


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert run(["python", "-c", "import time; time.sleep(60)"], log, 0.2) is None
    assert "ended after" in log.read_text(encoding="utf-8")


def test_times_are_compared_on_the_same_processor_only() -> None:
    here = Machine("one", ("avx2",), 2, 1)
    row = Row(
        "m/speed/x", "x", None, {"ratio": 2.0}, {"ratio": Tolerance(relative=0.1, comparable_on="same")}, machine=here
    )
    slower = replace(row, values={"ratio": 1.0})
    assert [each.drifted for each in compared(row, slower)] == [True]
    assert list(compared(row, replace(slower, machine=replace(here, processor="another")))) == []


@pytest.mark.parametrize(
    ("before", "again", "drifted"),
    [(0.5, 0.503, False), (0.5, 0.5031, True), (None, None, False), (None, 0.5, True), (0.5, float("nan"), True)],
)
def test_a_drift_is_more_than_what_is_allowed(before: float | None, again: float | None, drifted: bool) -> None:
    assert Comparison("score", before, again, 0.003).drifted == drifted


class TestCommand:
    @pytest.fixture(autouse=True)
    def rows(self, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
        path = told({"ok": SCORE, "off": {"score": 0.5, "bytes": 1000}})
        rows = [recorded("ok", path), recorded("off", path, seconds=100.0), recorded("time", path, speed=True)]
        monkeypatch.setattr(recheck, "all_rows", lambda: {row.name: row for row in rows})

    def test_the_status_is_1_for_a_drift_and_0_without(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        within = CliRunner().invoke(recheck.main, ["--all", "--under", "1m", "--log", str(log)])
        assert within.exit_code == 0, within.output
        assert "1 ok, 0 drift, 0 failed" in log.read_text(encoding="utf-8")
        everything = CliRunner().invoke(recheck.main, ["--all"])
        assert everything.exit_code == 1
        assert "1 ok, 1 drift, 0 failed" in everything.output

    def test_without_a_choice_rows_are_listed(self) -> None:
        listed = CliRunner().invoke(recheck.main, [])
        assert listed.exit_code == 0
        assert "due          pretended/quality/ok" in listed.output
        assert "pretended/quality/time" not in listed.output

    def test_a_choice_of_nothing_is_an_error(self) -> None:
        chosen = CliRunner().invoke(recheck.main, ["--row", "no/such/row"])
        assert chosen.exit_code == 1
        assert "no row is what was asked for" in chosen.output

    def test_a_sample_is_drawn_by_its_seed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn: list[list[str]] = []
        monkeypatch.setattr(recheck, "recheck", lambda rows, *_, **__: drawn.append([row.label for row in rows]))
        for seed in ("0", "0", "1", "2"):
            CliRunner().invoke(recheck.main, ["--sample", "1", "--seed", seed])
        assert drawn[0] == drawn[1]
        assert {label for labels in drawn for label in labels} == {"ok", "off"}

    def test_a_checkout_with_changes_is_not_recorded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recheck, "commit_now", lambda: ("0" * 40, "changed"))
        refused = CliRunner().invoke(recheck.main, ["--all", "--record"])
        assert refused.exit_code == 1
        assert "without changes" in refused.output

    def test_a_page_that_is_none_is_named(self) -> None:
        refused = CliRunner().invoke(recheck.main, ["--page", "docs/nowhere.md"])
        assert refused.exit_code == 2
        assert "docs/nowhere.md is no page" in refused.output
