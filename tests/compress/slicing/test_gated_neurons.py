"""Neurons with two columns of one weight, and neurons of a weight that layers share: measured, planned, taken out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.forms.sliced import kept_shapes
from squeeze_onnx.compress.squeeze_result import SqueezeResult
from squeeze_onnx.compress.squeezing import squeeze
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from tests.graph.execution import run
from tests.graph.tiny_graphs import random_weight, tiny_model

WIDTH, NEURONS = 24, 48
LAYER = """[in{n}] a{n} = MatMul({x}, P{m}) u{n}, g{n} = Split<axis = -1, num_outputs = 2>(a{n})
    s{n} = Sigmoid(g{n}) t{n} = Mul(g{n}, s{n}) h{n} = Mul(u{n}, t{n})
    [out{n}] d{n} = MatMul(h{n}, V{m}) e{n} = Add(d{n}, b{m}) r{n} = Add({x}, e{n}) {y} = LayerNormalization(r{n}, c)"""
MODELS = {"packed": (0, 1), "shared by layers": (0, 0)}


def model(layers: tuple[int, int]) -> OnnxModel:
    body = LAYER.format(n=0, m=layers[0], x="x", y="y") + LAYER.format(n=1, m=layers[1], x="y", y="z")
    strength = np.geomspace(1, 0.02, NEURONS).astype(np.float32)
    constants: dict[str, Any] = {"c": np.ones(WIDTH, np.float32)}
    for m in set(layers):
        constants[f"P{m}"] = random_weight(WIDTH, 2 * NEURONS, seed=m) / 4
        constants[f"V{m}"] = random_weight(NEURONS, WIDTH, seed=8 + m) / 8 * strength[:, None]
        constants[f"b{m}"] = random_weight(WIDTH, seed=16 + m)
    graph = f"g (float[B,S,{WIDTH}] x) => (float[B,S,{WIDTH}] z) {{ {body} }}"
    return OnnxModel(Path("model.onnx"), tiny_model(graph, **constants))


def rows(seed: int) -> dict[str, np.ndarray]:
    return {"x": random_weight(8, 9, WIDTH, seed=seed)}


CALIBRATION = [CalibrationBatch(rows(seed), None) for seed in range(100, 106)]


CONFIG = OptimizeConfig(method="whiten", keep=0.5, simulations=1)


def squeezed(layers: tuple[int, int], config: OptimizeConfig) -> SqueezeResult:
    return squeeze(model(layers), config, CALIBRATION)


def distance(layers: tuple[int, int], result: SqueezeResult) -> float:
    (expected,), (found,) = (run(each.ir, rows(1)) for each in (model(layers), result.model))
    return float(np.square(expected - found).sum() / np.square(expected).sum())


@pytest.mark.parametrize("layers", MODELS.values(), ids=MODELS)
def test_neurons_go_with_all_their_columns_and_less_is_lost_than_by_rank(layers: tuple[int, int]) -> None:
    result, factored = squeezed(layers, CONFIG), squeezed(layers, replace(CONFIG, slice_neurons=False))
    shapes = kept_shapes(result.plan.sites)
    (width, columns), (neurons, _) = shapes["in0"], shapes["out0"]
    assert (width, columns) == (WIDTH, 2 * neurons)
    assert distance(layers, result) < distance(layers, factored)
