"""A weight that goes with the sublayer that it belongs to, an attention or a feed-forward block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.planned_site import Form, PlannedSite
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.match.sublayers import find_sublayers
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class Removed(Form):
    """Nothing: the residual stream passes through, and a constant takes the place of what the sublayer added to it.

    The sites of a sublayer go together: `squeeze_onnx.compress.removal` takes them out before anything else is done.
    """

    treatment: ClassVar[str] = "removed"
    keys: ClassVar[tuple[str, ...]] = ("removed",)

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Take true, beside nothing else."""
        removed = entry.get("removed")
        if removed is None:
            return None
        if removed is not True:
            raise OptionError(f'"removed" is {removed!r}, not null or true')
        return cls()

    def to_json(self) -> dict[str, Any]:
        """Say so."""
        return {"removed": True}

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return nothing."""
        return 0.0

    @classmethod
    def check(cls, sites: Sequence[MatMulSite], plan: Sequence[PlannedSite], method: str) -> None:
        """Raise OptionError unless ``plan`` removes whole sublayers of ``sites``, and their means are known."""
        pending = removed_sites(plan)
        if not pending:
            return
        if not METHODS[method].needs_calibration:
            raise OptionError(
                f'the plan has "removed" for site {min(pending)}, but `method` {method} does not know what it does on average: '
                "plan with one that looks at activations"
            )
        for sublayer in find_sublayers(sites):
            names = {site.name for site in sublayer.sites}
            if names <= pending:
                pending -= names
        if pending:
            raise OptionError(
                f'the plan has "removed" for site {min(pending)}, which is not part of an attention or a feed-forward block that '
                "can go, or not all weights of that are removed"
            )


def removed_sites(plan: Sequence[PlannedSite]) -> set[str]:
    """Return the names of the sites of ``plan`` that go."""
    return {planned.name for planned in plan if isinstance(planned.form, Removed)}
