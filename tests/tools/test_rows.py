"""Rows, and the files that they lie in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tools.row_files import add_to_journal, all_rows, file_of, keep, read_journal, read_rows, rows_of
from tools.rows import FORMAT, Machine, Row, Tolerance, name_of, slug

ROW = Row(
    name="tiny/quality/half",
    label="half",
    command=("tools.bench_quality", "--model", "tiny", "--row", "half"),
    values={"candidate": 0.9, "size": {"optimized_bytes": 12}},
    tolerance={"candidate": Tolerance(absolute=0.003, why="tenths of a point"), "size.optimized_bytes": Tolerance()},
    commit="0" * 40,
    date="2026-11-29",
    machine=Machine("A processor", ("avx2", "fma"), 2, 1),
    versions={"onnxruntime": "1.32.0"},
    seconds=12.5,
    shared_seconds=10.0,
    shares="survey",
)


def test_a_row_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    keep([ROW], tmp_path)
    assert read_rows(file_of(ROW.name, tmp_path)) == {ROW.name: ROW}
    assert rows_of("tiny", "quality", tmp_path) == {"half": ROW}


def test_a_row_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    other = replace(ROW, name="tiny/quality/third", label="third")
    keep([ROW, other], tmp_path)
    keep([replace(ROW, seconds=1.0)], tmp_path)
    assert [(row.label, row.seconds) for row in all_rows(tmp_path).values()] == [("half", 1.0), ("third", 12.5)]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = file_of("tiny/quality", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"rows": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"not {FORMAT!r}"):
        all_rows(tmp_path)


def test_a_value_is_found_by_its_key_and_missed_by_name() -> None:
    assert ROW.value("size.optimized_bytes") == 12
    with pytest.raises(KeyError, match=r"tiny/quality/half has no size\.parameters"):
        ROW.value("size.parameters")


def test_a_line_of_a_journal_that_was_cut_off_is_no_row(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    add_to_journal(journal, ROW)
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"name": "tiny/qua')
    add_to_journal(journal, replace(ROW, label="again"))
    assert [row.label for row in read_journal(journal)] == ["half", "again"]


def test_a_name_has_no_mark_that_ends_a_comment() -> None:
    label = "`soco`, then `--distill 600`: −8.1 % --> 0"
    assert slug(label) == "soco-then-distill-600-8.1-0"
    assert name_of("minilm-l6/soco", label) == "minilm-l6/soco/soco-then-distill-600-8.1-0"


def test_a_tolerance_is_the_wider_of_both_and_counts_from_the_recorded_value() -> None:
    assert Tolerance(absolute=0.5, relative=0.01).allows(10) == 0.5
    assert Tolerance(absolute=0.5, relative=0.01).allows(-1000) == 10


def test_times_compare_on_one_processor_only() -> None:
    assert ROW.machine.compares_with(ROW.machine)
    assert not Machine().compares_with(Machine())
    assert not ROW.machine.compares_with(replace(ROW.machine, threads=2))
