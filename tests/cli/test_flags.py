"""Sentences from below the command line name settings; it calls them by their flags, wherever it prints them."""

import pytest
from rich.console import Console

from squeeze_onnx.cli.console import output_console, plain_table
from squeeze_onnx.cli.flags import in_flags


@pytest.mark.parametrize(
    ("sentence", "printed"),
    [
        ("give `calibration` a file", "give --calibration a file"),
        ("`calibration_rows` is too much", "--calibration-rows is too much"),
        ("cut texts with `max_tokens` 64", "cut texts with --max-length 64"),
        ("leave it out with `refit=False`", "leave it out with --no-refit"),
        ("leave out `provider` cuda", "leave out --provider cuda"),
        ("`analyze` lists the names of `a node`", "`analyze` lists the names of `a node`"),
    ],
)
def test_settings_are_called_by_their_flags(sentence: str, printed: str) -> None:
    assert in_flags(sentence) == printed


def test_tables_and_lines_are_printed_so(capsys: pytest.CaptureFixture[str]) -> None:
    console = output_console()
    assert isinstance(console, Console)
    table = plain_table("Left alone", ["why"], [])
    table.add_row("`include` embedding takes it in")
    console.print(table)
    console.print("Note: give more with `keep`", style="dim")
    printed = capsys.readouterr().out
    assert "--include embedding takes it in" in printed
    assert "Note: give more with --keep" in printed
