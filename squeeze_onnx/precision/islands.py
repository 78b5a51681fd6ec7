"""Which sites stay in a higher precision: measured, one site at a time, on the calibration data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.damage import DamageMeter, probe_batches
from squeeze_onnx.errors import OptionError
from squeeze_onnx.graph.both_ways import both_ways
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.precision.base import Evidence, KeptSite
from squeeze_onnx.precision.through_files import opened

MOST_DAMAGE = 0.02
"""How far the outputs may move in all, as a share of their variance; more sites stay as they are until it is no more."""

UNMEASURED = "Without calibration data no damage was measured: every site is quantized."
AS_PLANNED = "The plan says which sites stay as they are; no damage was measured."


@dataclass(frozen=True)
class Islands:
    """The sites that stay, the damage of each site alone, and of all the others together."""

    kept: tuple[KeptSite, ...] = ()
    damage: Mapping[str, float] | None = None
    total: float | None = None
    notes: tuple[str, ...] = ()


def choose_islands(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    rounded: Mapping[str, np.ndarray],
    evidence: Evidence,
    *,
    round_rows: bool,
    most_damage: float = MOST_DAMAGE,
) -> Islands:
    """Choose the sites that stay as they are, where ``rounded`` has the other weights (in, out) by name.

    Sites are ranked by the damage of each alone for each byte that it saves, on every other batch of the calibration data. On the
    batches in between the worst ones then stay, one more at a time, until the others together do at most ``most_damage``.
    """
    if evidence.kept is not None:
        return Islands(_planned(model, evidence.kept, rounded), notes=(AS_PLANNED,))
    if not evidence.batches:
        return Islands(notes=(UNMEASURED,))
    names = [site.name for site in sites]
    with _switchboards(model, rounded, evidence, round_rows=round_rows) as (ranking, checking):
        damage = {name: ranking.damage([name]) for name in evidence.track(names, "Damage")}
        size = {site.name: site.parameters for site in sites}
        order = sorted(names, key=lambda name: damage[name] / size[name], reverse=True)
        count, total = 0, checking.damage(names)
        while total > most_damage and count < len(order):
            count += 1
            total = checking.damage(order[count:])
    kept = tuple(
        KeptSite(name, f"alone it moves the outputs by {damage[name]:.2g} of their variance") for name in order[:count]
    )
    return Islands(kept, damage, total)


def _planned(kept: Sequence[str], rounded: Mapping[str, np.ndarray]) -> tuple[KeptSite, ...]:
    for name in kept:
        if name not in rounded:
            raise OptionError(
                f"the plan keeps {name!r} in a higher precision, but the model has no such weight to quantize"
            )
    return tuple(KeptSite(name, "as the plan says") for name in kept)


class _Switchboard:
    """A model whose sites can be switched to their rounded weights."""

    def __init__(self, meter: DamageMeter, switches: Mapping[str, str]) -> None:
        self._meter = meter
        self._switches = switches

    def damage(self, names: Sequence[str]) -> float:
        return self._meter.damage({self._switches[name]: np.array(True) for name in names})


@contextmanager
def _switchboards(
    model: ir.Model, rounded: Mapping[str, np.ndarray], evidence: Evidence, *, round_rows: bool
) -> Iterator[tuple[_Switchboard, _Switchboard]]:
    """Open one session; the first board runs on every other batch, the second on those in between."""
    switchable = both_ways(model, rounded, round_rows=round_rows)
    still = {name: np.array(False) for name in switchable.switches.values()}
    halves: list[Sequence[CalibrationBatch]] = [evidence.batches[0::2], evidence.batches[1::2] or evidence.batches]
    with opened(switchable.model, evidence.provider) as session:
        first, second = (
            _Switchboard(DamageMeter(session, probe_batches(half), still), switchable.switches) for half in halves
        )
        yield first, second
