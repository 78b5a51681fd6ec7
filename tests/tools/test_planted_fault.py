"""A fault in the rounding of embeddings, planted on purpose, is found as the rows that CI runs again find it: on a tiny model."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.compress.precision.rounding import ColumnIntegers
from squeeze_onnx.compress.precision.tables import ColumnTable, Int8Columns
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.support.errors import SqueezeError
from tests.docs.sandbox import ROWS, lay_out
from tools import bench_small
from tools.drift import compared
from tools.recheck_jobs import jobs_of
from tools.row_files import all_rows
from tools.rows import Row

OPTIONS = "--keep 0.5 --calibration glue:stsb --calibration-rows 32 --include embedding --precision int8"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained encoder, and pairs of sentences that it grades perfectly."""
    return lay_out(tmp_path_factory.mktemp("world"))


def measured(world: Path) -> Row:
    values = bench_small.measure(world / "minilm", OPTIONS, world / "glue")
    return Row("tiny/small/int8", "int8", None, values, bench_small.tolerance(values, ROWS["dev"]))


@pytest.fixture(scope="module")
def sound(world: Path) -> Row:
    """What comes out without a fault."""
    return measured(world)


def found(world: Path, sound: Row) -> bool:
    """Say whether a row that is made again fails, or drifts."""
    try:
        again = measured(world)
    except SqueezeError:
        return True
    return any(each.drifted for each in compared(sound, again))


def test_the_same_code_does_not_drift(world: Path, sound: Row) -> None:
    assert not found(world, sound)


def test_a_table_that_its_other_factor_was_not_fitted_to_drifts(
    world: Path, sound: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(self: ColumnTable, inserter: Inserter, site: MatMulSite) -> None:
        columns = self.columns
        store_int8_table(inserter, site, columns.integers, np.ones_like(columns.scales) * columns.scales.mean())

    monkeypatch.setattr(ColumnTable, "store", store)
    assert found(world, sound)


def test_a_table_of_fewer_levels_drifts(world: Path, sound: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: Int8Columns, table: np.ndarray) -> ColumnTable:
        scales = (np.abs(table).max(axis=0) / 3).astype(np.float32)
        return ColumnTable(ColumnIntegers(np.rint(table / scales).clip(-1, 1).astype(np.int8), scales))

    monkeypatch.setattr(Int8Columns, "encode", encode)
    assert found(world, sound)


def test_ci_runs_rows_that_go_through_tables_and_rounding() -> None:
    rows = all_rows()
    chosen = [rows[name] for name in bench_small.IN_CI]
    assert any("--include embedding" in row.values["options"] and "int8" in row.values["options"] for row in chosen)
    assert len(jobs_of(chosen)) == 1
    ci = Path(__file__).parents[2] / ".ci" / "run"
    assert "tools.recheck --cheap" in ci.read_text(encoding="utf-8")
