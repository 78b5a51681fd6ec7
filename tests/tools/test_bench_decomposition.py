"""The benchmark measures what its tables say."""

from dataclasses import asdict

import numpy as np
import pytest
import scipy.linalg

from squeeze_onnx.spectral.decompositions import Exact
from tests.spectral.decompositions.matrices import matrix_of_spectrum, power_law
from tools import bench_decomposition as bench
from tools.decomposition_tables import case_table
from tools.rows import Row


def test_the_large_matrix_has_the_spectrum_it_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LARGE_SHAPE", (40, 100))
    case = bench.large_case()
    assert case.weight.dtype == np.float32
    np.testing.assert_allclose(np.linalg.svd(case.weight, compute_uv=False), case.spectrum, rtol=1e-5)


def test_every_method_gets_a_row_with_its_error_over_the_optimum() -> None:
    values = power_law(60, 0.5)
    case = bench.Case("small", matrix_of_spectrum((60, 90), values).astype(np.float32), values, rank=12)
    methods = [
        bench.Method(bench.REFERENCE, bench.full_svd(scipy.linalg.svd)),
        bench.Method("Exact", bench.ours(Exact())),
        bench.Method("scikit-learn", bench.sklearn_svd),
        *bench.our_methods(12, np.float64),
    ]
    rows = {row.method: row for row in bench.measure(case, methods, repeats=2)}
    assert list(rows) == [method.label for method in methods]
    assert rows[bench.REFERENCE].error == pytest.approx(1.0, rel=1e-5)
    assert rows["Exact"].error == pytest.approx(1.0, rel=1e-5)
    assert rows["RSVD"].error > rows["RSI q = 2"].error > rows["RSI q = 5"].error > 1.0
    assert rows["RSI adaptive"].error <= 1.01
    for name in ("RSVD", "RSI q = 3", "RSI adaptive"):
        bound = rows[name].bound
        assert bound is not None
        assert bound >= rows[name].error * (1 - 1e-12)  # rounding
    found = {name: asdict(row) for name, row in rows.items()}
    errors, times = (
        Row(name, "small", None, {"rank": 12, "methods": found}) for name in ("d/d/small", "d/d/small-times")
    )
    table = "\n".join(case_table(errors, times))
    assert all(f"| {method.label} | {1e3 * rows[method.label].seconds:.0f} |" in table for method in methods)
    assert "| Exact |  |  | 1.0000 |" in "\n".join(case_table(errors, None))


def test_a_full_decomposition_of_a_large_matrix_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LARGE_SIZE", 0)
    values = power_law(20, 0.5)
    case = bench.Case("small", matrix_of_spectrum((20, 30), values).astype(np.float32), values, rank=4)
    runs: list[str] = []

    def counted(name: str, is_full: bool) -> bench.Method:
        def run(weight: np.ndarray, rank: int) -> bench.Outcome:
            runs.append(name)
            return bench.ours(Exact())(weight, rank)

        return bench.Method(name, run, is_full=is_full)

    bench.measure(case, [counted(bench.REFERENCE, True), counted("sketch", False)], repeats=3)
    assert runs == [bench.REFERENCE, "sketch", "sketch", "sketch"]
