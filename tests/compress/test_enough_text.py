from collections.abc import Mapping

import numpy as np
import pytest

from squeeze_onnx.compress.enough_text import refuse_too_little, short_of_text
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.moments import Moments, SecondMoment, TokenFrequency
from squeeze_onnx.support.errors import DataError
from tests.tiny_encoder import write_model_folder


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[MatMulSite, ...]:
    return find_sites(load_model(write_model_folder(tmp_path_factory.mktemp("text") / "model")).ir).sites


def moments(sites: tuple[MatMulSite, ...], tokens: int) -> Mapping[str, Moments]:
    """What each weight met: the table a frequency of every word, the others so many tokens."""
    return {
        site.name: TokenFrequency(np.ones(site.in_features))
        if site.role == "embedding"
        else SecondMoment(np.eye(site.in_features), tokens)
        for site in sites
    }


def test_the_widest_weight_decides(sites: tuple[MatMulSite, ...]) -> None:
    refuse_too_little(sites, moments(sites, 4))
    with pytest.raises(DataError, match=r"layer\.0/ffn_out has 64 inputs and met 3 tokens; give at least 4, better 64"):
        refuse_too_little(sites, moments(sites, 3))


@pytest.mark.parametrize(("tokens", "short"), [(63, True), (64, False)])
def test_fewer_tokens_than_inputs_are_told(sites: tuple[MatMulSite, ...], tokens: int, short: bool) -> None:
    told = short_of_text(sites, moments(sites, tokens))
    assert (told is not None) == short
    assert not short or "layer.0/ffn_out has 64 inputs and met 63 tokens" in str(told)


def test_a_method_without_moments_has_enough(sites: tuple[MatMulSite, ...]) -> None:
    refuse_too_little(sites, {})
    assert short_of_text(sites, {}) is None
