"""Recipes and plans with one thing wrong: exit status 2, a sentence that names the key as it was written, and nothing written."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.workflows.optimize import optimize
from tests.cli.optimized import read_json
from tests.conftest import RunCli
from tests.folders import snapshot

RECIPE = """
model = "model"
output = "small"

[optimize]
keep = 0.5
method = "svd"

[calibration]
calibration = "text"
calibration-rows = 3
max-length = 16

[validate]
provider = ["cpu"]
latency-rounds = 2

[package]
output = "bundle"
form = "onnx"
"""

BROKEN_RECIPES: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "kepp": (("keep =", "kepp ="), ("line 6 [optimize]", "'kepp'; did you mean keep?")),
    "keep in words": (("0.5", '"half"'), ("line 6 [optimize]", "keep is a number; got 'half'")),
    "keep of 2": (("0.5", "2.0"), ("line 6 [optimize]", "keep is a float above 0")),
    "wihten": (('"svd"', '"wihten"'), ("line 7 [optimize]", "method is one of", "did you mean whiten?")),
    "above-break-even": (
        ('method = "svd"', 'above-break-even = "burn"'),
        ("line 7 [optimize]", "above-break-even is one of leave"),
    ),
    "rows in words": (("rows = 3", 'rows = "all"'), ("line 11 [calibration]", "calibration-rows is an integer")),
    "no rows": (("rows = 3", "rows = 0"), ("line 11 [calibration]", "calibration-rows is a positive integer")),
    "rows twice": (("max-length = 16", "rows = 4"), ("line 12 [calibration]", "rows is the same as calibration-rows")),
    "rows elsewhere": (("keep =", "calibration-rows ="), ("line 6 [optimize]", "belongs in [calibration] or [search]")),
    "keep elsewhere": (("max-length =", "keep ="), ("line 12 [calibration]", "'keep'; it belongs in [optimize]")),
    "keep above all": (
        ('output = "small"', 'output = "small"\nkeep = 1'),
        ("line 4", "'keep'; it belongs in [optimize]"),
    ),
    "model elsewhere": (('form = "onnx"', 'model = "model"'), ("line 20 [package]", "the keys above all tables")),
    "a task without data": (('= "text"', '= "glue:sst2"'), ("[calibration]", "glue:sst2 needs data")),
    "a task that is none": (('provider = ["cpu"]', 'task = "sst3"\ndata = "glue"'), ("line 15 [validate]", "'sst3'")),
    "a gate without a task": (('provider = ["cpu"]', "max-drop = 1"), ("line 15 [validate]", "max-drop is in points")),
    "a provider that is no list": (('["cpu"]', '"cpu"'), ("line 15 [validate]", "provider is a list")),
    "a form that is none": (('"onnx"', '"tf"'), ("line 20 [package]", "form is one of")),
    "no bundle": (('output = "bundle"', ""), ("line 18 [package]", "output must be given")),
    "no model": (('model = "model"', ""), ("'model' must be given",)),
    "a table that is none": (("[package]", "[pakage]"), ("line 18 [pakage]", "did you mean package?")),
    "a plan beside keep": (('output = "small"', 'output = "small"\nplan = "plan.json"'), ("line 4", "leave out keep")),
    "no TOML": (("[optimize]", "[optimize"), ("line 5",)),
}


@pytest.mark.parametrize("slip", BROKEN_RECIPES)
def test_a_broken_recipe(call_cli: RunCli, work: Path, slip: str) -> None:
    change, told = BROKEN_RECIPES[slip]
    assert change[0] in RECIPE
    (work / "squeeze.toml").write_text(RECIPE.replace(*change, 1), encoding="utf-8")
    refused(call_cli, work, "run", work / "squeeze.toml", told=(str(work / "squeeze.toml"), *told))


def test_the_recipe_itself_is_carried_out(call_cli: RunCli, work: Path) -> None:
    (work / "squeeze.toml").write_text(RECIPE, encoding="utf-8")
    done = call_cli("run", work / "squeeze.toml", "--force")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_json(work / "small" / "report.json")["certificate"]["texts"] == 3


Edit = Callable[[dict[str, Any]], object]

BROKEN_PLANS: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "rnak": (lambda plan: plan["sites"][1].update(rnak=3), ("sites[1] (layer.0/key)", "'rnak'; did you mean rank?")),
    "metod": (lambda plan: plan.update(metod="svd"), ("'metod'; did you mean method?",)),
    "method": (lambda plan: plan.update(method="wihten"), ("wihten",)),
    "precision": (lambda plan: plan["precision"].update(name="fp8"), ("precision", "'fp8'")),
    "nmae": (lambda plan: plan["precision"].update(nmae="fp8"), ("'nmae'; did you mean name?",)),
    "kept": (lambda plan: plan["precision"].update(kept="layer.0/key"), ("kept", "layer.0/key")),
    "target_cpu": (lambda plan: plan["precision"].update(target_cpu="z80"), ("target_cpu", "z80")),
    "refit": (lambda plan: plan.update(refit="no"), ("\"refit\" is 'no'",)),
    "rank": (lambda plan: plan["sites"][0].update(rank="all"), ("layer.0/query", "\"rank\" is 'all'")),
    "a rank that is too high": (lambda plan: plan["sites"][0].update(rank=99), ("layer.0/query", '"rank" is 99')),
    "shape": (lambda plan: plan["sites"][0].update(shape=[32]), ("layer.0/query", '"shape"')),
    "another shape": (lambda plan: plan["sites"][0].update(shape=[64, 32]), ("64 × 32 for site layer.0/query",)),
    "kept_shape": (lambda plan: plan["sites"][0].update(kept_shape=[32, 99], rank=None), ('"kept_shape"',)),
    "shares_left": (lambda plan: plan["sites"][1].update(shares_left="layer.9/key"), ("layer.9/key",)),
    "sensitivity": (lambda plan: plan["sites"][0].update(sensitivity=-1), ('"sensitivity" is -1',)),
    "layer": (lambda plan: plan["sites"][0].update(layer="first"), ("\"layer\" is 'first'",)),
    "name": (lambda plan: plan["sites"][0].update(name="layer.0/qurey"), ("layer.0/qurey",)),
    "a site twice": (lambda plan: plan["sites"].append(plan["sites"][0]), ("layer.0/query",)),
    "no sites": (lambda plan: plan.pop("sites"), ('"sites"',)),
    "format": (lambda plan: plan.update(format="squeeze-onnx/plan/9"), ('"format"',)),
    "skipped": (lambda plan: plan.update(skipped=[3]), ("skipped[0]",)),
}


@pytest.fixture(scope="module")
def sound(work: Path) -> dict[str, Any]:
    optimize(work / "model", work / "sound", OptimizeConfig(method="svd", keep=0.5, simulations=1))
    plan: dict[str, Any] = read_json(work / "sound" / "plan.json")
    return plan


@pytest.mark.parametrize("slip", BROKEN_PLANS)
def test_a_broken_plan(call_cli: RunCli, work: Path, sound: dict[str, Any], slip: str) -> None:
    edit, told = BROKEN_PLANS[slip]
    plan = deepcopy(sound)
    edit(plan)
    (work / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    arguments = ("optimize", work / "model", "-o", work / f"by {slip}", "--plan", work / "plan.json")
    refused(call_cli, work, *arguments, told=told)


def refused(call_cli: RunCli, work: Path, *arguments: object, told: tuple[str, ...]) -> None:
    before = snapshot(work)
    done = call_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    for words in told:
        assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert snapshot(work) == before
