"""Run the graph on calibration data and stream what every weight meets into its second moment."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, cast

import numpy as np
import onnx_ir as ir
from scipy.linalg.blas import dsyrk

from squeeze_onnx.errors import ModelError
from squeeze_onnx.graph.model import save_model
from squeeze_onnx.graph.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.moments import Moments, SecondMoment, TokenFrequency
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.runtime.sessions import Session, open_session


@dataclass(frozen=True, eq=False)
class CalibrationBatch:
    """Inputs of the graph by name, and which of the (sequences, tokens) positions are text (None: all of them)."""

    feeds: Mapping[str, np.ndarray]
    mask: np.ndarray | None


class _Accumulator(Protocol):
    def rows(self, value: np.ndarray) -> np.ndarray:
        """Flatten a value of the graph to one row a token."""
        ...

    def add(self, rows: np.ndarray) -> None:
        """Take in some rows."""
        ...

    def moments(self) -> SecondMoment | TokenFrequency:
        """Return the moments of all rows taken in."""
        ...


CHUNK = 512
"""So many tokens are gathered before their products are summed: a sum reads and writes the whole matrix."""


class _GramSum:
    """XᵀX of activations, summed in float64."""

    def __init__(self, features: int) -> None:
        # Only one triangle is added to; Fortran order is BLAS's own.
        self._triangle = np.zeros((features, features), order="F")
        self._total = np.zeros(features)
        self._tokens = 0
        self._waiting: list[np.ndarray] = []

    def rows(self, value: np.ndarray) -> np.ndarray:
        return value.reshape(-1, value.shape[-1])

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= CHUNK:
            self._sum_up()

    def _sum_up(self) -> None:
        exact = np.concatenate(self._waiting, dtype=np.float64)
        self._triangle = dsyrk(1.0, exact.T, beta=1.0, c=self._triangle, overwrite_c=True)
        self._total += exact.sum(axis=0)
        self._tokens += len(exact)
        self._waiting.clear()

    def moments(self) -> SecondMoment:
        if self._waiting:
            self._sum_up()
        return SecondMoment(self._triangle + np.triu(self._triangle, 1).T, self._tokens, self._total)


class _LookupCount:
    """How often each row of a table is looked up."""

    def __init__(self, table_rows: int) -> None:
        self._counts = np.zeros(table_rows)

    def rows(self, value: np.ndarray) -> np.ndarray:
        return value.reshape(-1)

    def add(self, rows: np.ndarray) -> None:
        # Gather counts negative indices from the end.
        self._counts += np.bincount(rows % len(self._counts), minlength=len(self._counts))

    def moments(self) -> TokenFrequency:
        return TokenFrequency(self._counts)


def collect_moments(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    batches: Sequence[CalibrationBatch],
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> dict[str, Moments]:
    """Return the moments of what ``sites`` meet, by site name, padding excluded, in one pass over ``batches``.

    Sites that read the same value (query, key and value) share one object; a tied site has the sum over its uses.
    """
    inputs = {site.name: tuple(str(rows_of(node).name) for node in site.nodes) for site in sites}
    sums: dict[str, _Accumulator] = {}
    for site in sites:
        kind = _LookupCount if WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup else _GramSum
        sums |= {name: kind(site.in_features) for name in inputs[site.name] if name not in sums}
    with session_showing(model, tuple(sums), provider) as session:
        for batch in track(batches, "Calibration"):
            for accumulator, value in zip(sums.values(), session.run(tuple(sums), batch.feeds), strict=True):
                accumulator.add(without_padding(accumulator.rows(value), batch.mask))
    moments = {name: accumulator.moments() for name, accumulator in sums.items()}
    met = {site: cast(Moments, reduce(add, (moments[name] for name in names))) for site, names in inputs.items()}
    for name, moment in met.items():
        if not np.isfinite(moment.diagonal).all():
            raise ModelError(
                f"what node {name} reads is NaN or infinite on the calibration data: check the weights before it"
            )
    return met


@contextmanager
def session_showing(model: ir.Model, values: Sequence[str], provider: str) -> Iterator[Session]:
    """Open a session on a copy of ``model`` whose outputs are ``values``."""
    probe = model.clone()
    known = {value.name: value for value in (*probe.graph.inputs, *(v for node in probe.graph for v in node.outputs))}
    probe.graph.outputs[:] = [known[name] for name in values]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        save_model(probe, path)
        yield open_session(path, provider)


def without_padding(rows: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the rows that ``mask`` calls text.

    What does not run over all positions (a pooler's input) has no padding: all its rows count.
    """
    if mask is None or len(rows) != mask.size:
        return rows
    return rows[mask.reshape(-1) > 0]
