"""Independent: each site keeps what a selector finds in its own spectrum, whatever the total comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squeeze_onnx.compress.allocators.base import Allocator, Candidate
from squeeze_onnx.compress.selectors import RankChoice, RankSelector


@dataclass(frozen=True)
class Independent(Allocator):
    """Ask one selector about each site; with `TracyWidomEdge` this is SQUEEZE to the letter."""

    selector: RankSelector

    def allocate(self, candidates: Sequence[Candidate]) -> Mapping[str, RankChoice]:
        """Take the selector's proposal for each candidate."""
        return {candidate.name: self.selector.select(candidate.spectrum) for candidate in candidates}
