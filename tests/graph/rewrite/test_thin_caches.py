"""Heads that go through a decoder's cache are found in every spelling, and what is cut decodes step by step as at once."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.attention_heads import HeadBlock, find_query_keys, find_value_outputs
from squeeze_onnx.graph.match.caches import caches_in
from squeeze_onnx.graph.match.rotated_heads import RotatedQueryKey, find_rotated_query_keys
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.normal_heads import normalize_heads
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from tests.tiny_decoder import GROUPS, LAYERS, VOCABULARY, WIDTH, Decoding, decoder

IDS = np.random.default_rng(0).integers(4, VOCABULARY, (2, 9))
KEPT = WIDTH // 2


def blocks(model: ir.Model) -> list[HeadBlock]:
    sites = find_sites(model).sites
    return [*find_query_keys(sites), *find_rotated_query_keys(sites), *find_value_outputs(sites)]


def keep_some(model: ir.Model, *, zeros: bool) -> None:
    """Keep half of the dimensions of every head, or put zeros in the place of the others."""
    rewriter = Rewriter(model)
    for block in blocks(model):
        if isinstance(block, RotatedQueryKey):
            kept = np.tile([[0, 2]], (block.groups, 1))
            dimensions = block.pairs[kept[0]].T.ravel()
        else:
            dimensions = np.arange(KEPT)
        weights = {}
        for each in (*(projected.site for projected in block.before), *block.after):
            entries = each.weight.numpy().T if each in block.after else each.weight.numpy()
            columns = (np.arange(entries.shape[1] // WIDTH)[:, None] * WIDTH + dimensions).ravel()
            cut = np.where(np.isin(np.arange(entries.shape[1]), columns), entries, 0) if zeros else entries[:, columns]
            weights[each.name] = cut.T if each in block.after else cut
        if zeros:
            for site in block.sites:
                rewriter.replace(site, weights[site.name])
            continue
        rewriter.narrow(block, block.groups * KEPT, weights, {})
        if isinstance(block, RotatedQueryKey):
            rewriter.turn(block, kept)


@pytest.mark.parametrize(
    ("repeat", "rotary"), [("shapes", True), ("numbers", True), ("shapes", False), ("gather", False)]
)
def test_what_is_cut_is_as_with_zeros_and_decodes_step_by_step(repeat: str, rotary: bool) -> None:
    whole, changed = decoder(rotary=rotary, repeat=repeat), decoder(rotary=rotary, repeat=repeat)
    normalize_heads(changed)
    masked = changed.clone()
    np.testing.assert_allclose(Decoding(changed).logits(IDS, 6, 3), Decoding(whole).logits(IDS, 9), atol=1e-5)
    found = blocks(changed)
    assert len(found) == 2 * LAYERS
    assert {cache.past.name for block in found for cache in block.caches} == {
        f"past_key_values.{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")
    }
    keep_some(changed, zeros=False)
    keep_some(masked, zeros=True)
    cached = [*changed.graph.inputs[3:], *changed.graph.outputs[1:]]
    assert [value.shape[3] for value in cached if value.shape] == [KEPT] * 4 * LAYERS
    at_once = Decoding(changed).logits(IDS, 9)
    np.testing.assert_allclose(at_once, Decoding(masked).logits(IDS, 9), atol=1e-5)
    np.testing.assert_allclose(Decoding(changed).logits(IDS, 6, 1, 2), at_once, atol=1e-5)


def read_past(model: ir.Model) -> None:
    """Let something else read the width off what comes in."""
    shape = ir.node("Shape", [model.graph.inputs[3]])
    size = ir.node("Cast", [shape.outputs[0]], {"to": 1})
    mean = ir.node("ReduceMean", [size.outputs[0]], {"keepdims": 0})
    logits = model.graph.outputs[0]
    scaled = ir.node("Add", [logits, mean.outputs[0]])
    scaled.outputs[0].name, scaled.outputs[0].type = "shifted", logits.type
    model.graph.extend([shape, size, mean, scaled])
    model.graph.outputs[0] = scaled.outputs[0]


def show_keys(model: ir.Model) -> None:
    """Let the model return keys of the new tokens too."""
    value = next(caches_in(model.graph)).new
    model.graph.outputs.append(value)


def keep_nothing(model: ir.Model) -> None:
    """Let the model return no keys of the first layer: what comes in is no cache."""
    model.graph.outputs.pop(1)


@pytest.mark.parametrize("change", [read_past, show_keys, keep_nothing])
def test_left_alone(change: Callable[[ir.Model], None]) -> None:
    model = decoder()
    change(model)
    normalize_heads(model)
    found: Mapping[str, int] = {block.name: len(block.caches) for block in blocks(model)}
    assert len(found) == 2 * LAYERS - 1  # all but query and key of the first layer
    assert GROUPS in {block.groups for block in blocks(model)}
