"""Independent: what one selector says of each site."""

from squeeze_onnx.compress.allocators import Independent
from squeeze_onnx.compress.selectors import FixedRank
from tests.compress.allocators.conftest import MakeCandidate


def test_each_site_gets_the_selectors_proposal(candidate: MakeCandidate) -> None:
    sites = [candidate("a", [3, 2, 1], (3, 9)), candidate("b", [5, 4, 3, 2], (4, 4))]
    choices = Independent(FixedRank(2)).allocate(sites)
    assert {name: choice.rank for name, choice in choices.items()} == {"a": 2, "b": 2}
