"""Run the graph on calibration data and stream what every weight meets into its second moment."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Protocol, cast

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.positions import counted, sequences_in
from squeeze_onnx.graph.io.declarations import outputs_replaced
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of, rows_of
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.sessions import USUAL, Session, SessionSettings, session_threads, threads_of_sessions
from squeeze_onnx.spectral.moment_sums import Counted, GramSum, Heard, LookupCount, SumKind, ValueSums
from squeeze_onnx.spectral.moments import Moments
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent


@dataclass(frozen=True, eq=False)
class CalibrationBatch:
    """Inputs of the graph by name, and which of the (sequences, tokens) positions are text (None: all of them)."""

    feeds: Mapping[str, np.ndarray]
    mask: np.ndarray | None

    @property
    def sequences(self) -> int:
        """How many texts, images or the like it holds."""
        return sequences_in(self.feeds)

    @property
    def positions(self) -> int:
        """How many tokens, pixels or the like are run, padding among them: the entries of its largest input."""
        return max(array.size for array in self.feeds.values())

    def counted(self, rows: tuple[int, ...]) -> np.ndarray | None:
        """Return which of the ``rows`` of a value count, in their shape (see `data.positions`); None: all of them."""
        return counted(self.feeds, self.mask, rows)


class Listener(Protocol):
    """Hears some values of the graph while the model runs over the calibration data."""

    @property
    def names(self) -> Sequence[str]:
        """The values it wants to hear."""
        ...

    def hear(self, values: Sequence[np.ndarray], counted: Counted) -> None:
        """Take in these values of one batch, and what says which of their rows count."""
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
    with session_showing(model, _names_of(listeners), provider) as session:
        run_session(session, batches, listeners, track=track, label=label)


def run_session(
    session: Session,
    batches: Sequence[CalibrationBatch],
    listeners: Sequence[Listener],
    *,
    track: Track = silent,
    label: str,
) -> None:
    """Run what is open once over ``batches``, and let all ``listeners`` hear; what they want to hear is among its outputs."""
    names = _names_of(listeners)
    for batch in track(batches, label):
        found = dict(zip(names, session.run(names, batch.feeds), strict=True))
        for listener in listeners:
            listener.hear([found[name] for name in listener.names], batch.counted)


def _names_of(listeners: Sequence[Listener]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for listener in listeners for name in listener.names))


class _Inputs:
    """What ``sites`` meet.

    Sites that read the same value (query, key and value) share one sum; a tied site has the sum over its uses.
    """

    def __init__(self, sites: Sequence[MatMulSite]) -> None:
        self._inputs = {site.name: tuple(str(rows_of(node).name) for node in site.nodes) for site in sites}
        self.kinds: dict[str, SumKind] = {}
        for site in sites:
            lookup = WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup
            kind = SumKind(LookupCount if lookup else GramSum, site.in_features)
            self.kinds |= dict.fromkeys(self._inputs[site.name], kind)

    def moments(self, heard: Heard) -> dict[str, Moments]:
        """Return the moments by site name; raises ModelError for one that is NaN or infinite."""
        met = {
            site: cast(Moments, reduce(add, (heard[name] for name in names))) for site, names in self._inputs.items()
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
    shown: Sequence[str] = (),
) -> dict[str, Moments]:
    """Return the second moments of what ``sites`` meet on ``batches``, by site name.

    Here that is one pass over the data. A ``track`` with several hands cuts it by values, not by batches: each runs the whole
    model and sums up its part of the values, in the order of the data. So the sums are the same to the last bit, and no machine
    holds more than its part of them; but no number of hands is faster than the model alone.

    What else is ``shown`` nobody hears, but ONNX Runtime leaves the values of its fusions unshown: the same graph is run, to the
    last bit, whoever listens to which part of the same values.
    """
    inputs = _Inputs(sites)
    shown = tuple(shown) or tuple(inputs.kinds)
    if track.hands() == 1:
        with session_showing(model, shown, provider) as session:
            return hear_moments(session, sites, batches, track)
    hear = partial(
        _hear_part, model=model, batches=batches, shown=shown, provider=provider, threads=threads_of_sessions()
    )
    heard: Heard = {}
    for of_part in track.map(hear, _parts(inputs.kinds, track.hands()), "Calibration"):
        heard |= of_part
    return inputs.moments(heard)


def hear_moments(
    session: Session, sites: Sequence[MatMulSite], batches: Sequence[CalibrationBatch], track: Track = silent
) -> dict[str, Moments]:
    """Return what `collect_moments` does, of a ``session`` that shows the values that ``sites`` meet."""
    inputs = _Inputs(sites)
    sums = ValueSums(inputs.kinds)
    run_session(session, batches, [sums], track=track, label="Calibration")
    return inputs.moments(sums.heard())


def values_met(sites: Sequence[MatMulSite]) -> tuple[str, ...]:
    """Return the names of the values that ``sites`` read."""
    return tuple(_Inputs(sites).kinds)


def _parts(kinds: Mapping[str, SumKind], count: int) -> list[dict[str, SumKind]]:
    """Cut ``kinds`` into at most ``count`` parts that cost about the same."""
    parts: list[dict[str, SumKind]] = [{} for _ in range(min(count, len(kinds)))]
    for name, kind in sorted(kinds.items(), key=lambda entry: -entry[1].cost):
        min(parts, key=lambda part: sum(each.cost for each in part.values()))[name] = kind
    return parts


def _hear_part(
    kinds: Mapping[str, SumKind],
    *,
    model: ir.Model,
    batches: Sequence[CalibrationBatch],
    shown: Sequence[str],
    provider: str,
    threads: int | None,
) -> Heard:
    sums = ValueSums(kinds)
    with session_threads(threads), session_showing(model, shown, provider) as session:
        run_session(session, batches, [sums], label="Calibration")
    return sums.heard()


@contextmanager
def session_showing(
    model: ir.Model, values: Sequence[str], provider: str, settings: SessionSettings = USUAL
) -> Iterator[Session]:
    """Open a session on ``model``, which stays as it is, with ``values`` for outputs; it may be used beyond the context."""
    with outputs_replaced(model, values):
        session = open_graph(model, provider, settings)
    yield session
