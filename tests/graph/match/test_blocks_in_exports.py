"""What is found in whole exports: feed-forward blocks and heads of every layer, however packed, rotated or spelled."""

from collections import Counter
from pathlib import Path

import pytest

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.preparing import open_model
from squeeze_onnx.compress.slicing import KINDS, blocks_among
from squeeze_onnx.graph.match.sites import find_sites
from tests.architectures import exported_models

LAYERS = 2
FOUND = {
    "bert/optimum": "FeedForward QueryKey ValueOutput",
    "bert/dynamo_opset23": "FeedForward QueryKey ValueOutput",  # one operator is the attention
    "mpnet/optimum": "FeedForward QueryKey ValueOutput",
    "gpt2/optimum": "FeedForward QueryKey ValueOutput",  # packed, between a Reshape and a Split
    "gpt2/dynamo": "FeedForward QueryKey ValueOutput",
    "llama/optimum": "FeedForward RotatedQueryKey ValueOutput",  # rotary, two heads of keys and values for four
    "phi/optimum": "FeedForward RotatedQueryKey ValueOutput",  # rotary, the attention beside the feed-forward block
    "modernbert/optimum": "FeedForward RotatedQueryKey ValueOutput",  # rotary, gate and value packed, query, key and value too
    "deberta/optimum": "FeedForward ValueOutput",  # scores of contents and of positions
}
"""Export → the kinds of blocks, of which every layer has one each, and there are no others."""


@pytest.mark.parametrize("export", FOUND)
def test_every_layer_has_its_blocks(model_cache: Path, export: str) -> None:
    model = open_model(exported_models(model_cache) / f"{export}.onnx", AnalyzeConfig())
    sites = [site for site in find_sites(model.ir).sites if site.layer is not None]
    counted = Counter(type(block).__name__ for _, block in blocks_among(sites, KINDS))
    assert counted == dict.fromkeys(FOUND[export].split(), LAYERS)
