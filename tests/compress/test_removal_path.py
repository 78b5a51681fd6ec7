"""In which order sublayers go, what that is measured by, and what a budget makes of it."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.allocators import (
    Candidate,
    GlobalBudget,
    Objective,
    RemovableSublayer,
    RemovalChoice,
    Slicing,
)
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Removed
from squeeze_onnx.compress.objectives import predicted_share
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.compress.removal import mean_added
from squeeze_onnx.compress.removal_path import order_of_removal
from squeeze_onnx.compress.sublayer_latency import latency_beside_weights
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.evaluate.output_error import probe_batches
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.match.sublayers import find_sublayers
from squeeze_onnx.graph.rewrite.removal import remove_sublayer
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError
from tests.compress.test_removal import CALIBRATION
from tests.graph.execution import run
from tests.tiny_encoder import encoder_model

SUBLAYERS = [f"layer.{layer}/{last}" for layer in range(2) for last in ("attention_output", "ffn_out")]


def survey_of(**options: object) -> tuple[Context, tuple[RemovableSublayer, ...], dict[str, object]]:
    model = OnnxModel(Path("tiny.onnx"), ir.from_proto(encoder_model()))
    context = Context(model, OptimizeConfig(method="whiten", **options), CALIBRATION)  # type: ignore[arg-type]
    survey = take_survey(context)
    return context, survey.removable, dict(survey.moments)


class TestOrder:
    def test_each_step_is_probed_with_those_before_gone(self) -> None:
        """a and b stand in for each other: alone each is the cheapest, together they cost more than c."""
        together = {"a": 1.0, "b": 1.1, "c": 3.0, "ab": 9.0, "ac": 4.0, "bc": 5.0}
        asked: list[str] = []

        def damage(gone: Collection[str]) -> float:
            asked.append("".join(sorted(gone)))
            return together[asked[-1]] / 10

        assert order_of_removal(dict.fromkeys("abc", 1.0), damage) == [("a", 0.1), ("c", 0.4)]
        assert len(asked) == len(set(asked))

    def test_what_saves_more_may_do_more_damage(self) -> None:
        alone = {"a": 0.1, "b": 0.15, "c": 0.9}
        order = order_of_removal({"a": 1.0, "b": 2.0, "c": 1.0}, lambda gone: sum(alone[name] for name in gone))
        assert [name for name, _ in order] == ["b", "a"]

    def test_it_ends_before_the_answer_is_lost(self) -> None:
        assert order_of_removal({"a": 1.0, "b": 1.0, "c": 1.0}, lambda gone: 0.6 * len(gone)) == [("a", 0.6)]


def test_the_damage_is_that_of_the_model_without_them() -> None:
    context, path, moments = survey_of(remove_sublayers=True)
    assert 1 <= len(path) < len(SUBLAYERS)
    assert {each.name for each in path} <= {*SUBLAYERS}
    gone = [each.name for each in path]
    model = ir.from_proto(encoder_model())
    for sublayer in find_sublayers(find_sites(model).sites):
        if sublayer.name in gone:
            remove_sublayer(model, sublayer, mean_added(sublayer, moments[sublayer.name]))  # type: ignore[arg-type]
    means: list[list[np.ndarray]] = [[], []]
    for batch in probe_batches(context.batches):
        mask = np.asarray(batch.mask)[..., None]
        for each, rows in zip((context.dense.ir, model), means, strict=True):
            rows.append((run(each, batch.feeds)[0] * mask).sum(axis=1) / mask.sum(axis=1))
    dense, small = (np.concatenate(rows).astype(np.float64) for rows in means)
    moved = np.square(small - dense).sum() / np.square(dense - dense.mean(axis=0)).sum()
    assert path[-1].output_error == pytest.approx(moved, rel=1e-3)


def test_what_has_a_floor_stays_and_nothing_goes_unless_that_is_asked_for() -> None:
    _, path, _ = survey_of(remove_sublayers=True, floor={"ffn_in": 0.2})
    assert {each.name for each in path} <= {name for name in SUBLAYERS if "attention" in name}
    assert survey_of()[1] == ()


def test_a_method_that_weighs_nothing_is_no_way_to_remove() -> None:
    message = "`remove_sublayers` weighs what goes against what else could"
    with pytest.raises(OptionError, match=message):
        OptimizeConfig(remove_sublayers=True, method="svd")
    with pytest.raises(OptionError, match=message):
        OptimizeConfig(remove_sublayers=True, preset="paper-ffn")
    model = OnnxModel(Path("tiny.onnx"), ir.from_proto(encoder_model()))
    with pytest.raises(OptionError, match="`method` svd does not: give `calibration` text"):
        take_survey(Context(model, OptimizeConfig(remove_sublayers=True)))


def candidate(name: str, sensitivity: float) -> Candidate:
    return Candidate(name, Spectrum(np.ones(8), (8, 8), "identity"), edge=1.0, sensitivity=sensitivity)


SITES = [candidate("a", 1.0), candidate("b", 1.0), candidate("c", 1.0), candidate("d", 1.0)]
PATH = (RemovableSublayer(("a", "b"), 0.1), RemovableSublayer(("c", "d"), 2.0))


class TestBudget:
    def test_what_goes_pays_for_what_stays(self) -> None:
        choices = GlobalBudget(0.5, removable=PATH).allocate(SITES)
        assert [type(choices[name]) is RemovalChoice for name in "abcd"] == [True, True, False, False]
        [point] = GlobalBudget(0.5, removable=PATH).forecast(SITES, [0.5])
        assert (point.share, point.output_error) == (0.5, 0.1)

    def test_nothing_goes_where_that_does_more_damage(self) -> None:
        choices = GlobalBudget(0.9, removable=(replace(PATH[0], output_error=5.0),)).allocate(SITES)
        assert not any(isinstance(choice, RemovalChoice) for choice in choices.values())

    def test_what_else_could_become_of_a_weight_is_out_of_question_then(self) -> None:
        slicing = Slicing((("b", 8),), (("c", 8),), np.array([8, 1]), np.array([0.0, 0.0]))
        choices = GlobalBudget(0.45, (slicing,), removable=PATH[:1]).allocate(SITES)
        assert {*choices} == {*"abcd"}
        assert isinstance(choices["b"], RemovalChoice)

    def test_time_beside_weights_counts(self) -> None:
        """Alone the weights are no reason: what lies between them takes most of the time."""
        slow = Objective("time", fixed=1000.0, beside_weights={"b": 900.0})
        choices = GlobalBudget(0.3, objective=slow, removable=PATH[:1]).allocate(SITES)
        assert isinstance(choices["a"], RemovalChoice)
        sites = tuple(PlannedSite(name, 0, "other", (8, 8), 3, Removed(), "") for name in "ab")
        assert predicted_share(Plan("whiten", {}, sites), slow) == 100 / (1000 + 2 * 64)


def test_the_time_of_a_sublayer_is_what_the_model_takes_less_without_it() -> None:
    model = OnnxModel(Path("tiny.onnx"), ir.from_proto(encoder_model()))
    context = Context(model, OptimizeConfig(method="whiten"))

    def timer(paths: object) -> list[float]:
        counts = []
        for path in paths:  # type: ignore[attr-defined]
            nodes = [node.op_type for node in load_model(path).ir.graph]
            counts.append(10.0 * nodes.count("Softmax") + 2.0 * nodes.count("Erf") + 1.0 * nodes.count("MatMul"))
        return counts

    # An attention has four weights and two products of heads.
    found = latency_beside_weights(context, lambda site: 1.0, timer)
    assert found == {name: 12.0 if "attention" in name else 2.0 for name in SUBLAYERS}
