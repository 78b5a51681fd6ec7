"""The two regimes that the SQUEEZE paper reports, as named presets.

Dantas, Junior, Cordeiro, dos Santos (2026), doi 10.21203/rs.3.rs-8720929/v1, abstract: "−8.1 % model size", and FFN only:
"−64 % effective rank".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from squeeze_onnx.compress.allocators import Allocator, EdgeDistance, EffectiveRankReduction
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.support.errors import OptionError

FILE_REDUCTION = 0.081
EFFECTIVE_RANK_REDUCTION = 0.64


class Preset(Protocol):
    """A named choice of sites and budget."""

    @property
    def roles(self) -> frozenset[Role]:
        """The only roles it touches; empty for all eligible ones."""
        ...

    def allocator(self, sites: Sequence[MatMulSite], model_bytes: int) -> Allocator:
        """Return the allocator for these eligible sites of a model file of ``model_bytes``."""
        ...


@dataclass(frozen=True)
class PaperFfn:
    """FFN matrices only, each to 36 % of its entropy-effective rank."""

    roles: frozenset[Role] = frozenset({Role.FFN_IN, Role.FFN_OUT})

    def allocator(self, sites: Sequence[MatMulSite], model_bytes: int) -> Allocator:
        """Cut the effective rank of every site by 64 %."""
        return EffectiveRankReduction(EFFECTIVE_RANK_REDUCTION)


@dataclass(frozen=True)
class PaperSize:
    """All eligible matrices, cut at one distance to the noise edge so that the file shrinks by 8.1 %."""

    roles: frozenset[Role] = frozenset()

    def allocator(self, sites: Sequence[MatMulSite], model_bytes: int) -> Allocator:
        """Turn 8.1 % of the file into a fraction of the eligible parameters.

        Raises OptionError if the eligible weights are less than 8.1 % of the file.
        """
        eligible_bytes = sum(site.weight.stored_bytes for site in sites)
        removed = FILE_REDUCTION * model_bytes
        if removed >= eligible_bytes:
            raise OptionError(
                f"`preset` paper-size removes {removed / 1e6:.1f} MB, but the eligible weights hold only "
                f"{eligible_bytes / 1e6:.1f} MB; give `keep` instead"
            )
        return EdgeDistance(1 - removed / eligible_bytes)


PRESETS: dict[str, type[Preset]] = {"paper-ffn": PaperFfn, "paper-size": PaperSize}
