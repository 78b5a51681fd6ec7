"""No combination of options destroys a model: the finished file answers as the dense one does, as near as was predicted.

Every pair of levels of `options` that is not refused stands in a row. A row is run as a user would run it, but in this process,
and judged by the outputs of the file in ONNX Runtime on text that the run did not read.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from squeeze_onnx.cli.optimize import optimize
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.precision.tables import ColumnTable
from squeeze_onnx.evaluate.certificate import ClassProbabilities, CosineDistance
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter
from tests.cli.matrix.conftest import Workplace
from tests.cli.matrix.options import ALONE, ELSEWHERE, FORBIDDEN, OPTIONS, Arguments
from tests.cli.matrix.pairwise import Forbidden, Row, completed, pairwise
from tests.cli.matrix.trained_encoder import answers, distance, likeness
from tests.conftest import RunCli

FACTORS = {factor: tuple(levels) for factor, levels in OPTIONS.items()}
ROWS = pairwise(FACTORS, FORBIDDEN)

LEAST_LIKENESS = 0.9
LEAST_AT_THE_EDGE = 0.6
"""The paper's method without a budget leaves what stands out of the noise, however little that is."""

SLACK = 0.05
"""A share of the outputs' variance that is neither here nor there."""

DECIDED_BY_A_PLAN = ("method", "budget", "include", "exclude")
REGRESSED = {"include": "embedding", "precision": "int8", "text": "sentences", "method": "whiten", "model": "encoder"}


def arguments(row: Row, workplace: Workplace, out: Path, left_out: Collection[str] = ()) -> list[str | Path]:
    """Return the command line of ``row`` that writes ``out``, without the options of some factors."""
    options = (word for factor in FACTORS if factor not in left_out for word in OPTIONS[factor][row[factor]])
    return ["optimize", workplace.folder / row["model"], "-o", out, *filled(options, workplace, out)]


def filled(options: Collection[str] | Any, workplace: Workplace, out: Path) -> list[str]:
    """Put files and folders in the place of their names."""
    own = {"cache": out.parent / "cache", "state": out.parent / "state", "json": out.parent / "report.json"}
    return [word.format(**workplace.files, **own) for word in options]


def judge(out: Path, workplace: Workplace, model: str, *, least: float = LEAST_LIKENESS) -> np.ndarray:
    """Hold the answers of ``out`` against the dense ones and against what its report predicts; return them."""
    found, dense = answers(out / "model.onnx", workplace.asked), workplace.dense[model]
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    precision, certificate, frontier = (report[part] for part in ("precision", "certificate", "frontier"))
    assert np.isfinite(found).all()
    assert report["last_look"]["verdict"] in ("as predicted", "ran")
    assert likeness(found, dense) >= least
    moved = precision["damage"] or 0.0
    if precision["predicted_damage"] is not None:
        assert moved <= 2 * precision["predicted_damage"] + SLACK / 5
    if certificate is not None:
        measure = ClassProbabilities() if model == "classifier" else CosineDistance()
        assert certificate["measure"] == measure.name
        assert measure.deviation(dense, found).mean() <= 3 * certificate["measured"]["mean"] + SLACK
    if frontier is not None and report["method"] in ("whiten", "fisher"):
        [predicted] = (point["damage"] for point in frontier["points"] if point["keep"] == frontier["keep"])
        assert distance(found, dense) <= 4 * (predicted + moved) + SLACK
    return found


def least_likeness(row: Row) -> float:
    edge = row["method"] == "squeeze" and row["budget"] == "usual"
    paper = row["budget"] == "preset" and row["include"] != "layers"
    return LEAST_AT_THE_EDGE if edge or paper else LEAST_LIKENESS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row[name] for name in ("method", "precision", "model")))
def test_the_finished_file_answers_as_the_dense_one(
    row: Row, workplace: Workplace, call_cli: RunCli, tmp_path: Path
) -> None:
    out, again, least = tmp_path / "out", tmp_path / "again", least_likeness(row)
    done = call_cli(*arguments(row, workplace, out))
    assert (done.returncode, done.stderr) == (0, "")
    found = judge(out, workplace, row["model"], least=least)
    if row["run"] == "once":
        return
    if row["run"] == "plan":
        options = [*arguments(row, workplace, again, DECIDED_BY_A_PLAN), "--plan", out / "plan.json"]
    else:
        options = arguments(row, workplace, again)
    done = call_cli(*options)
    assert (done.returncode, done.stderr) == (0, "")
    assert distance(judge(again, workplace, row["model"], least=least), found) < 0.01


@pytest.mark.parametrize("options", ALONE.values(), ids=ALONE)
def test_rows_of_their_own(options: Arguments, workplace: Workplace, call_cli: RunCli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call_cli("optimize", workplace.folder / "encoder", "-o", out, *filled(options, workplace, out))
    assert (done.returncode, done.stderr) == (0, "")
    judge(out, workplace, "encoder")


@pytest.mark.parametrize("combination", FORBIDDEN, ids=lambda each: "-".join(each.levels))
def test_what_no_row_combines_is_refused_in_one_sentence(
    combination: Forbidden, workplace: Workplace, call_cli: RunCli, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    usual = {factor: levels[0] for factor, levels in FACTORS.items()} | {"method": "svd", "text": "sentences"}
    row = usual | {factor: min(levels) for factor, levels in combination.levels.items()}
    done = call_cli(*arguments(row, workplace, out))
    assert done.returncode == 2
    assert combination.told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_as_a_user_runs_it(workplace: Workplace, run_cli: RunCli, tmp_path: Path) -> None:
    """The combination that was destroyed once, in a process of its own, and again by its plan."""
    row = completed(REGRESSED | {"run": "plan"}, FACTORS, FORBIDDEN)
    out, again = tmp_path / "out", tmp_path / "again"
    for target, options in (
        (out, arguments(row, workplace, out)),
        (again, [*arguments(row, workplace, again, DECIDED_BY_A_PLAN), "--plan", out / "plan.json"]),
    ):
        done = run_cli(*options)
        assert (done.returncode, done.stderr) == (0, "")
        found = answers(target / "model.onnx", workplace.asked)
        assert likeness(found, workplace.dense["encoder"]) >= LEAST_LIKENESS


def test_a_fault_in_the_rounding_of_a_table_is_seen(
    workplace: Workplace, call_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(self: ColumnTable, inserter: Inserter, site: MatMulSite) -> None:
        """Write the factor as it came, beside one that was fitted to another."""
        columns = self.columns
        mirrored = np.where(np.arange(len(columns.scales)) % 2, -1, 1).astype(np.int8)
        store_int8_table(inserter, site, columns.integers * mirrored, columns.scales)

    monkeypatch.setattr(ColumnTable, "store", store)
    row = completed(REGRESSED, FACTORS, FORBIDDEN)
    out = tmp_path / "out"
    refused = call_cli(*arguments(row, workplace, out))
    assert refused.returncode == 1
    assert "--precision int8 moves the outputs by" in refused.stderr
    assert not out.exists()
    assert call_cli(*arguments(row, workplace, out), "--force-write").returncode == 0
    with pytest.raises(AssertionError):
        judge(out, workplace, "encoder", least=0.5)


def test_every_option_of_the_command_line_is_in_a_row() -> None:
    """A new option needs a level in `OPTIONS`, or a row in `ALONE`: what is not combined with others breaks unseen."""
    lines = [*(line for levels in OPTIONS.values() for line in levels.values()), *ALONE.values()]
    given = {word for line in lines for word in line if word.startswith("--")}
    accepted = {
        name
        for parameter in optimize.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }
    assert accepted - given - set(ELSEWHERE) == set()
    assert (given | set(ELSEWHERE)) - accepted == set()


def test_every_method_and_precision_is_in_a_row() -> None:
    assert set(OPTIONS["method"]) == {"auto", *METHODS}
    assert set(OPTIONS["precision"]) == set(PRECISIONS)
