"""A copy whose sites compute with one weight or another, as inputs say."""

import numpy as np
import pytest

from squeeze_onnx.graph.rewrite.both_ways import both_ways
from squeeze_onnx.graph.rewrite.plain_weights import plain_weight_sites
from tests.compress.precision.tiny import FEEDS, SITES, block
from tests.graph.execution import run


@pytest.mark.parametrize("chosen", [(), ("table",), ("left", "head"), SITES], ids=str)
def test_a_switch_exchanges_the_weight_of_its_site_only(chosen: tuple[str, ...]) -> None:
    model = block()
    others = {site.name: 1.5 * site.weight.numpy() for site in plain_weight_sites(model)}
    switchable = both_ways(model, others, round_rows=False)
    feeds = dict(FEEDS) | {switch: np.array(name in chosen) for name, switch in switchable.switches.items()}
    stored = {name: other.T if name == "head" else other for name, other in others.items() if name in chosen}
    np.testing.assert_allclose(run(switchable.model, feeds)[0], run(block(**stored), FEEDS)[0], rtol=1e-4, atol=1e-5)


def test_rows_are_rounded_to_255_steps_of_their_range() -> None:
    model = block()
    weights = {site.name: site.weight.numpy() for site in plain_weight_sites(model)}
    switchable = both_ways(model, weights, round_rows=True)
    errors = []
    for on in (False, True):
        feeds = dict(FEEDS) | {switch: np.array(on) for switch in switchable.switches.values()}
        errors.append(np.abs(run(switchable.model, feeds)[0] - run(block(), FEEDS)[0]).max())
    assert errors[0] < 1e-5
    assert 1e-5 < errors[1] < 0.1
