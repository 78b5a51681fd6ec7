"""Configurations: validated when they are made, JSON both ways."""

import json
from typing import Any

import pytest

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.support.errors import OptionError


@pytest.mark.parametrize(
    "config",
    [
        AnalyzeConfig(),
        AnalyzeConfig(noise="bulk", probability=0.9, include=("embedding",), exclude=("query", "a/b"), seed=7),
        OptimizeConfig(method="squeeze", keep=0.5, above_break_even="denoise", external_data=True),
        OptimizeConfig(preset="paper-ffn"),
        OptimizeConfig(floor={"all": 0.2, "query": 0.5}),
    ],
)
def test_a_configuration_survives_the_way_through_json(config: AnalyzeConfig) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(
        OptionError, match=r"unknown configuration key 'kep'; .*keep, keep_cache, keep_vocabulary, max_size, method"
    ):
        OptimizeConfig.from_json({"kep": 0.5})


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.0001, float("nan"), float("inf")])
def test_keep_is_a_fraction(keep: float) -> None:
    with pytest.raises(OptionError, match="`keep` is a float above 0 and up to 1"):
        OptimizeConfig(keep=keep)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_floor_is_a_fraction(share: float) -> None:
    with pytest.raises(OptionError, match=r"`floor` is a float from 0 to 1, alone or as ROLE=F; got .* for query"):
        OptimizeConfig(floor={"query": share})


@pytest.mark.parametrize("probability", [0.0, 1.0, float("nan")])
def test_probability_is_between_0_and_1(probability: float) -> None:
    with pytest.raises(OptionError, match="`probability` is a float between 0 and 1"):
        AnalyzeConfig(probability=probability)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"method": "magic"}, ["auto", *METHODS]),
        ({"noise": "loud"}, list(NOISE_ESTIMATORS)),
        ({"preset": "paper"}, list(PRESETS)),
        ({"above_break_even": "pray"}, ["leave", "denoise"]),
        ({"floor": {"head": 0.5}}, ["all", "query", "embedding"]),
        ({"include": ("head",)}, ["query", "embedding", "classifier"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_unknown_name_is_refused_with_the_known_ones(options: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        OptimizeConfig(**options)
    assert all(name in str(caught.value) for name in names)


def test_simulations_are_at_least_one() -> None:
    with pytest.raises(OptionError, match="`simulations` is a positive integer; got 0"):
        AnalyzeConfig(simulations=0)


@pytest.mark.parametrize("options", [{"keep": 0.5}, {"method": "svd"}], ids=["`keep`", "`method`"])
def test_a_preset_leaves_no_room_for(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="`preset` paper-ffn"):
        OptimizeConfig(preset="paper-ffn", **options)


def test_a_preset_is_a_regime_of_squeeze() -> None:
    assert OptimizeConfig(preset="paper-size", method="squeeze").preset == "paper-size"
