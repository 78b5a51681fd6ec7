"""Weights that read the same value through one left factor, each with a right factor of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.forms.truncated import Factored, read_rank
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.planned_site import Approximation, PlannedSite, break_even_rank
from squeeze_onnx.compress.truncation import TruncationErrors, truncate_jointly
from squeeze_onnx.graph.match.shared_rows import read_the_same
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.decompositions import Decomposer
from squeeze_onnx.spectral.weightings import Weighting
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class SharedLeft(Factored):
    """Factored, with the left factor of the site ``first``, which counts its parameters; all of them have one rank."""

    first: str

    keys: ClassVar[tuple[str, ...]] = ("rank", "shares_left")

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        """Take the name of a site, beside a rank up to the height of the weight."""
        first = entry.get("shares_left")
        if first is None:
            return None
        rank = read_rank(entry, shape[0]) if isinstance(first, str) else None
        if rank is None:
            raise OptionError(f'"shares_left" is {first!r}, not null or the name of a site, beside a "rank"')
        return cls(rank, first)

    def to_json(self) -> dict[str, Any]:
        """Return the rank, and whose left factor it is."""
        return {"rank": self.rank, "shares_left": self.first}

    def group(self, name: str) -> str:
        """Return the name of the first of the sites."""
        return self.first

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        """Return what the right factor costs, and for the first site the left one too."""
        rank = np.array([self.rank])
        left = float(cost.into(site.shape[0], rank)[0]) if site.name == self.first else 0.0
        return left + float(cost.out_of(rank, site.shape[1])[0])

    def approximate(
        self,
        weights: Sequence[np.ndarray],
        sensitivities: Sequence[float],
        weighting: Weighting,
        decomposer: Decomposer,
    ) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
        """Truncate the weights side by side."""
        return truncate_jointly(weights, self.rank, weighting, sensitivities, decomposer)

    @classmethod
    def check(cls, sites: Sequence[MatMulSite], plan: Sequence[PlannedSite], method: str) -> None:
        """Raise OptionError, naming the site, unless left factors are shared as ``sites`` and ``method`` allow."""
        by_name = {planned.name: site for site, planned in zip(sites, plan, strict=True)}
        groups: dict[str, list[PlannedSite]] = {}
        for planned in plan:
            groups.setdefault(planned.group, []).append(planned)
        for group in groups.values():
            if any(isinstance(planned.form, cls) for planned in group):
                if METHODS[method].fisher is not None:
                    raise OptionError(
                        f'the plan gives site {group[0].name} a "shares_left", but method {method} sees each site in a metric '
                        "of its own outputs: set it to null"
                    )
                _check_group(group, [by_name[planned.name] for planned in group])


def _check_group(group: Sequence[PlannedSite], sites: Sequence[MatMulSite]) -> None:
    first, *others = sorted(group, key=lambda planned: planned.name != planned.group)
    if not others:
        raise OptionError(
            f'the plan gives site {first.name} the "shares_left" {first.group}, but no other site of the plan has it: '
            "set it to null"
        )
    for planned in others:
        if first.name != first.group or not isinstance(first.form, SharedLeft):
            raise OptionError(
                f'the plan gives site {planned.name} the "shares_left" {planned.group}, so that site needs the same entry'
            )
        if planned.rank != first.rank:
            raise OptionError(
                f"the plan gives site {planned.name} rank {planned.rank} and {first.name} rank {first.rank}, but they share "
                'their left factor: give all of them one rank, or set "shares_left" to null'
            )
    if not read_the_same(sites):
        names = " and ".join(planned.name for planned in others)
        raise OptionError(
            f"the plan lets site {first.name} share its left factor with {names}, but they do not read the same value: set "
            '"shares_left" to null'
        )
    largest = break_even_rank(sites[0].in_features, sum(site.out_features for site in sites))
    if first.rank is None or first.rank > largest:
        raise OptionError(
            f"the plan gives site {first.name} rank {first.rank} with a left factor that {len(group)} sites share; above "
            f"rank {largest} that is larger than the dense weights"
        )
