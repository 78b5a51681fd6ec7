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
        """Return the moments of all rows taken in, at the end."""
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
        self._triangle += np.triu(self._triangle, 1).T
        return SecondMoment(self._triangle, self._tokens, self._total)


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


class Listener(Protocol):
    """Hears some values of the graph while the model runs over the calibration data."""

    @property
    def names(self) -> Sequence[str]:
        """The values it wants to hear."""
        ...

    def hear(self, values: Sequence[np.ndarray], mask: np.ndarray | None) -> None:
        """Take in these values of one batch, and which of its (sequences, tokens) positions are text (None: all)."""
        ...


def run_over(
    model: ir.Model,
    batches: Sequence[CalibrationBatch],
    listeners: Sequence[Listener],
    *,
    provider: str = "cpu",
    track: Track = silent,
    label: str,
) -> None:
    """Run ``model`` once over ``batches``, and let all ``listeners`` hear; ``label`` is what the user reads meanwhile."""
    names = tuple(dict.fromkeys(name for listener in listeners for name in listener.names))
    with session_showing(model, names, provider) as session:
        for batch in track(batches, label):
            found = dict(zip(names, session.run(names, batch.feeds), strict=True))
            for listener in listeners:
                listener.hear([found[name] for name in listener.names], batch.mask)


class MomentListener:
    """Sums up the moments of what ``sites`` meet, padding excluded.

    Sites that read the same value (query, key and value) share one sum; a tied site has the sum over its uses.
    """

    def __init__(self, sites: Sequence[MatMulSite]) -> None:
        self._inputs = {site.name: tuple(str(rows_of(node).name) for node in site.nodes) for site in sites}
        self._sums: dict[str, _Accumulator] = {}
        for site in sites:
            kind = _LookupCount if WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup else _GramSum
            self._sums |= {name: kind(site.in_features) for name in self._inputs[site.name] if name not in self._sums}

    @property
    def names(self) -> tuple[str, ...]:
        """What the sites read."""
        return tuple(self._sums)

    def hear(self, values: Sequence[np.ndarray], mask: np.ndarray | None) -> None:
        """Add one batch."""
        for accumulator, value in zip(self._sums.values(), values, strict=True):
            accumulator.add(without_padding(accumulator.rows(value), mask))

    def moments(self) -> dict[str, Moments]:
        """Return the moments by site name; raises ModelError for one that is NaN or infinite."""
        found = {name: accumulator.moments() for name, accumulator in self._sums.items()}
        met = {
            site: cast(Moments, reduce(add, (found[name] for name in names))) for site, names in self._inputs.items()
        }
        for name, moment in met.items():
            if not np.isfinite(moment.diagonal).all():
                raise ModelError(
                    f"what node {name} reads is NaN or infinite on the calibration data: check the weights before it"
                )
        return met


def collect_moments(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    batches: Sequence[CalibrationBatch],
    *,
    provider: str = "cpu",
    track: Track = silent,
) -> dict[str, Moments]:
    """Return the moments of what ``sites`` meet (see `MomentListener`), by site name, in one pass over ``batches``."""
    listener = MomentListener(sites)
    run_over(model, batches, [listener], provider=provider, track=track, label="Calibration")
    return listener.moments()


@contextmanager
def session_showing(model: ir.Model, values: Sequence[str], provider: str) -> Iterator[Session]:
    """Open a session on a copy of ``model`` whose outputs are ``values``."""
    probe = model.clone()
    computed = (value for node in probe.graph for value in node.outputs)
    known = {value.name: value for value in (*probe.graph.inputs, *probe.graph.initializers.values(), *computed)}
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
