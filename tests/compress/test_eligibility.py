"""Which sites are squeezed: default roles, taken in, left out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.efforts import with_effort
from squeeze_onnx.compress.eligibility import Eligibility, choose_eligible
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.optimize import analyze
from tests.tiny_encoder import ELIGIBLE_SITES, encoder_model, write_model_folder
from tests.tiny_models import matmul_model


@pytest.fixture(scope="module")
def sites() -> Sequence[MatMulSite]:
    return find_sites(ir.from_proto(encoder_model(classifier=True))).sites


def names(eligibility: Eligibility) -> list[str]:
    return [site.name for site in eligibility.sites]


def reasons(eligibility: Eligibility) -> dict[str, str]:
    return {site.name: site.reason for site in eligibility.left_out}


def test_the_matrices_of_the_layers_are_eligible_by_default(sites: Sequence[MatMulSite]) -> None:
    eligibility = choose_eligible(sites)
    assert names(eligibility) == list(ELIGIBLE_SITES)
    assert set(reasons(eligibility)) == {"embedding", "pooler", "classifier"}
    assert reasons(eligibility)["pooler"] == "role pooler is not eligible here; `include` pooler takes it in"


def test_every_site_is_on_one_side(sites: Sequence[MatMulSite]) -> None:
    eligibility = choose_eligible(sites, include=["pooler"], exclude=["layer.1/key", "query"])
    assert sorted([*names(eligibility), *reasons(eligibility)]) == sorted(site.name for site in sites)


def test_a_role_is_taken_in(sites: Sequence[MatMulSite]) -> None:
    assert names(choose_eligible(sites, include=["embedding"])) == ["embedding", *ELIGIBLE_SITES]


def test_a_role_and_a_site_are_left_out(sites: Sequence[MatMulSite]) -> None:
    eligibility = choose_eligible(sites, exclude=["query", "layer.0/value"])
    assert not {"layer.0/query", "layer.1/query", "layer.0/value"} & set(names(eligibility))
    assert "layer.1/value" in names(eligibility)
    assert reasons(eligibility)["layer.1/query"] == "role query is excluded"
    assert reasons(eligibility)["layer.0/value"] == "excluded by name"


def test_what_is_excluded_stays_so_when_its_role_is_taken_in(sites: Sequence[MatMulSite]) -> None:
    eligibility = choose_eligible(sites, include=["pooler"], exclude=["pooler"])
    assert names(eligibility) == list(ELIGIBLE_SITES)


def test_a_narrower_choice_of_roles_can_be_widened_again(sites: Sequence[MatMulSite]) -> None:
    eligibility = choose_eligible(sites, include=["pooler"], only=[Role.FFN_IN])
    assert names(eligibility) == ["layer.0/ffn_in", "layer.1/ffn_in", "pooler"]


def test_an_exclusion_of_nothing_is_refused(sites: Sequence[MatMulSite]) -> None:
    with pytest.raises(
        OptionError, match=r"`exclude` layer\.2/key: neither a role \(query, .*\) nor the name of a site"
    ):
        choose_eligible(sites, exclude=["layer.2/key"])


def test_a_weight_that_rank_1_would_not_shrink_is_too_small() -> None:
    vector = numpy_helper.from_array(np.ones((8, 1), np.float32), "W")
    eligibility = choose_eligible(
        find_sites(ir.from_proto(matmul_model(vector))).sites, include=["classifier", "other"]
    )
    assert reasons(eligibility) == {"linear": "a 8 × 1 weight is too small: even rank 1 holds more parameters"}


def test_roles_that_take_nothing_in_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    model = load_model(write_model_folder(tmp_path / "encoder"))
    there_are = "embedding, query, key, value, attention_output, ffn_in, ffn_out"

    def chosen(**settings: Any) -> Sequence[MatMulSite]:
        return Context(model, OptimizeConfig(**settings)).sites

    with pytest.raises(OptionError, match=f"`include` pooler: .* has no such weight .*; it has {there_are}$"):
        chosen(keep=0.5, include=("pooler",))
    with pytest.raises(OptionError, match="`include` pooler and classifier: "):
        chosen(max_size="1MB", include=("pooler", "classifier"))
    with pytest.raises(OptionError, match=r"`include` embedding takes in nothing of .*; embedding: excluded by name"):
        chosen(keep=0.5, include=("embedding",), exclude=("embedding",))
    with pytest.raises(OptionError, match="`include` pooler: "):
        analyze(tmp_path / "encoder", AnalyzeConfig(include=("pooler",)))
    assert "embedding" in [site.name for site in chosen(keep=0.5, include=("pooler", "embedding"))]


def test_a_size_takes_tables_in_only_where_there_are_any(tmp_path: Path) -> None:
    model = load_model(write_model_folder(tmp_path / "encoder"))
    config, _ = with_effort(OptimizeConfig(max_size="1MB"), None)
    assert config.include == ("embedding",)
    without = replace(config, exclude=("embedding",))
    assert [site.name for site in Context(model, without).sites] == list(ELIGIBLE_SITES)
