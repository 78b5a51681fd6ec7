"""The paper's two regimes: which sites they touch and what budget they set."""

import onnx_ir as ir
import pytest

from squeeze_onnx.compress.allocators import EdgeDistance, EffectiveRankReduction
from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.presets import PaperFfn, PaperSize
from squeeze_onnx.compress.spectra import measure_spectra
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.rmt.spectrum import effective_rank
from squeeze_onnx.spectral.weightings import Standardization
from squeeze_onnx.support.errors import OptionError
from tests.tiny_encoder import ELIGIBLE_PARAMETERS, encoder_model

ELIGIBLE_BYTES = 4 * ELIGIBLE_PARAMETERS


@pytest.fixture(scope="module")
def sites() -> tuple[MatMulSite, ...]:
    return choose_eligible(find_sites(ir.from_proto(encoder_model())).sites).sites


def test_paper_ffn_leaves_36_percent_of_the_effective_rank_of_the_ffn(sites: tuple[MatMulSite, ...]) -> None:
    preset = PaperFfn()
    assert preset.roles == {Role.FFN_IN, Role.FFN_OUT}
    allocator = preset.allocator(sites, 10**6)
    assert isinstance(allocator, EffectiveRankReduction)
    [measured] = measure_spectra([sites[4]], lambda _: Standardization(), AnalyzeConfig(simulations=1))
    rank = allocator.allocate([measured.candidate])["layer.0/ffn_in"].rank
    values = measured.candidate.spectrum.singular_values
    assert effective_rank(values[: rank - 1]) < 0.36 * effective_rank(values) <= effective_rank(values[:rank])


def test_paper_size_takes_its_share_of_the_file_from_the_eligible_weights(sites: tuple[MatMulSite, ...]) -> None:
    preset = PaperSize()
    assert not preset.roles
    allocator = preset.allocator(sites, 2 * ELIGIBLE_BYTES)
    assert isinstance(allocator, EdgeDistance)
    assert allocator.keep == pytest.approx(1 - 2 * 0.081)


def test_paper_size_says_when_the_eligible_weights_are_too_few(sites: tuple[MatMulSite, ...]) -> None:
    with pytest.raises(OptionError, match=r"`preset` paper-size removes 0\.8 MB, but .* hold only 0\.1 MB"):
        PaperSize().allocator(sites, 10**7)
