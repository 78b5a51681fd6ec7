"""Which sites stay in a higher precision: measured, one site at a time, on the calibration data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Evidence, KeptSite
from squeeze_onnx.evaluate.output_error import OutputErrorMeter, probe_batches
from squeeze_onnx.graph.rewrite.both_ways import both_ways
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.support.errors import OptionError

Group = tuple[str, ...]
"""Names of sites that are quantized together or not at all, such as two factors made for each other."""

MOST_OUTPUT_ERROR = 0.02
"""How far the outputs may move in all, as a share of their variance; more sites stay as they are until it is no more."""

UNMEASURED = "Without calibration data no output error was measured: every site is quantized."
AS_PLANNED = "The plan says which sites stay as they are; the output error of each was not measured."


SHORT = "More sites would stay as they are, but `max_size` has no bytes for them."


@dataclass(frozen=True)
class Bounds:
    """How far the outputs may move in all, and the bytes that an entry takes more where a site stays."""

    most_output_error: float = MOST_OUTPUT_ERROR
    entry_bytes: float = 3.0


@dataclass(frozen=True)
class ExcludedOperators:
    """The sites that stay, the output error of each group alone by site, and of all the others together."""

    kept: tuple[KeptSite, ...] = ()
    output_error: Mapping[str, float] | None = None
    total: float | None = None
    notes: tuple[str, ...] = ()


def choose_excluded(
    model: ir.Model,
    groups: Sequence[Group],
    rounded: Mapping[str, np.ndarray],
    evidence: Evidence,
    *,
    round_rows: bool,
    bounds: Bounds = Bounds(),
) -> ExcludedOperators:
    """Choose the sites of ``model`` that stay as they are, where ``rounded`` has the other weights (in, out) by name.

    Groups are ranked by the output error of each alone for each byte that it saves, on every other batch of the calibration data.
    On the batches in between the worst then stay, one more at a time, until the others together do at most as much as
    ``bounds`` allow, or until there are no bytes to spare.
    """
    if evidence.kept is not None:
        return ExcludedOperators(_planned(evidence.kept, groups), notes=(AS_PLANNED,))
    if not evidence.batches:
        return ExcludedOperators(notes=(UNMEASURED,))
    with _switchboards(model, rounded, evidence, round_rows=round_rows) as (ranking, checking):
        output_error = {group: ranking.output_error([group]) for group in evidence.track(groups, "Output errors")}
        size = {group: sum(rounded[name].size for name in group) for group in groups}
        order = sorted(groups, key=lambda group: output_error[group] / size[group], reverse=True)
        count, total = 0, checking.output_error(groups)
        taken = np.cumsum([bounds.entry_bytes * size[group] for group in order])
        most = len(order) if evidence.spare is None else int(np.searchsorted(taken, evidence.spare, side="right"))
        while total > bounds.most_output_error and count < most:
            count += 1
            total = checking.output_error(order[count:])
    kept = tuple(
        KeptSite(name, f"alone it would move the outputs by {output_error[group]:.2g} of their variance")
        for group in order[:count]
        for name in group
    )
    short = (SHORT,) if total > bounds.most_output_error and count < len(order) else ()
    return ExcludedOperators(kept, {name: output_error[group] for group in groups for name in group}, total, short)


def _planned(kept: Sequence[str], groups: Sequence[Group]) -> tuple[KeptSite, ...]:
    known = {name for group in groups for name in group}
    for name in kept:
        if name not in known:
            raise OptionError(
                f"the plan keeps {name!r} in a higher precision, but the model has no such weight to quantize"
            )
    return tuple(KeptSite(name, "as the plan says") for group in groups if {*group} & {*kept} for name in group)


class _Switchboard:
    """A model whose sites can be switched to their rounded weights."""

    def __init__(self, meter: OutputErrorMeter, switches: Mapping[str, str]) -> None:
        self._meter = meter
        self._switches = switches

    def output_error(self, groups: Sequence[Group]) -> float:
        return self._meter.output_error({self._switches[name]: np.array(True) for group in groups for name in group})


@contextmanager
def _switchboards(
    model: ir.Model, rounded: Mapping[str, np.ndarray], evidence: Evidence, *, round_rows: bool
) -> Iterator[tuple[_Switchboard, _Switchboard]]:
    """Open one session; the first board runs on every other batch, the second on those in between."""
    switchable = both_ways(model, rounded, round_rows=round_rows)
    still = {name: np.array(False) for name in switchable.switches.values()}
    session = open_graph(switchable.model, evidence.provider)
    first, second = (
        _Switchboard(OutputErrorMeter(session, probe_batches(half), still, evidence.head), switchable.switches)
        for half in (evidence.ranking, evidence.checking)
    )
    yield first, second
