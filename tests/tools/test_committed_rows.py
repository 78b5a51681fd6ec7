"""The rows of this repository: whole, and each with a command that its tool understands."""

import re
from importlib import import_module

import click
import pytest

from tools.quality_runs import RUNS
from tools.row_files import all_rows, file_of
from tools.rows import Row, name_of

ROWS = all_rows()


def test_there_are_rows() -> None:
    assert len(ROWS) > 200


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_says_where_it_comes_from(row: Row) -> None:
    assert row.name == name_of(f"{row.model}/{row.kind}", row.label)
    assert file_of(row.name).is_file()
    assert re.fullmatch("[0-9a-f]{40}", str(row.commit))
    assert row.date is not None
    if row.origin == "ran":
        assert row.machine.processor
        assert row.machine.instruction_sets is not None
        assert {"python", "numpy", "onnx", "onnxruntime", "squeeze-onnx"} <= row.versions.keys()
        assert row.seconds is not None


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_can_be_made_again(row: Row) -> None:
    assert row.command is not None
    tool, *arguments = row.command
    assert arguments[-2:] == ["--row", row.label]
    command: click.Command = import_module(tool).main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), arguments.pop(0))
        assert found is not None
        command = found
    needs_data = any(option.name == "glue" for option in command.params)
    command.make_context(tool, [*arguments, *(["--glue", "."] if needs_data else [])])


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_may_drift_is_there(row: Row) -> None:
    for key, tolerance in row.tolerance.items():
        assert tolerance.allows(row.value(key)) >= 0
        assert tolerance.why, key


def test_no_row_was_made_with_code_that_was_not_committed() -> None:
    assert [row.name for row in ROWS.values() if row.origin == "changed"] == []


def test_rows_of_quality_are_what_the_tool_measures() -> None:
    labels = {run.label for run in RUNS}
    assert {row.label for row in ROWS.values() if row.kind == "quality"} <= labels
