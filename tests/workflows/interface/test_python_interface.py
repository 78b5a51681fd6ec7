"""The public functions: what they take for a model, text, a plan or a config, what they return, and how they refuse."""

import inspect
import json
import pydoc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import squeeze_onnx as so
from tests.tiny_encoder import ELIGIBLE_SITES, SENTENCES, WORDS, encoder_model, write_model_folder

TEXTS = [f"{first} {second}" for first in SENTENCES for second in WORDS]


@dataclass(frozen=True)
class Given:
    """What the calls of this module work on."""

    model: Path
    out: Path
    proto: onnx.ModelProto
    loaded: so.OnnxModel
    plan: Path

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        ids = np.arange(12).reshape(2, 6) % len(WORDS)
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("python")
    model = write_model_folder(folder / "model", encoder_model(classifier=True))
    so.optimize(model, folder / "svd", method="svd", keep=0.5, simulations=1)
    proto = onnx.load(model / "model.onnx")
    return Given(model, folder / "out", proto, so.load_model(model), folder / "svd" / "plan.json")


@pytest.fixture
def given(made: Given, tmp_path: Path) -> Given:
    return Given(made.model, tmp_path / "out", made.proto, so.load_model(made.model), made.plan)


LOOSE: Any = so
"""The package as callers without a type checker have it."""

WRONG: dict[str, tuple[Callable[[Given], object], str]] = {
    "keep='half'": (lambda g: LOOSE.optimize(g.model, g.out, keep="half"), "keep is a number; got 'half'"),
    "keep=2": (lambda g: so.optimize(g.model, g.out, keep=2), "`keep` is a float above 0 and up to 1; got 2"),
    "kepp": (lambda g: so.optimize(g.model, g.out, kepp=0.5), "'kepp'; did you mean keep?"),
    "a dict with kepp": (lambda g: so.optimize(g.model, g.out, {"kepp": 0.5}), "'kepp'; did you mean keep?"),
    "a config with kepp": (lambda g: LOOSE.OptimizeConfig(kepp=0.5), "OptimizeConfig: .*'kepp'; did you mean keep?"),
    "a setting twice": (
        lambda g: LOOSE.CalibrationConfig("x", rows=3, calibration_rows=4),
        "rows is given twice, once as calibration_rows",
    ),
    "a config that is text": (lambda g: LOOSE.optimize(g.model, g.out, "svd"), "config is an OptimizeConfig .*'svd'"),
    "another command's config": (
        lambda g: LOOSE.optimize(g.model, g.out, so.BenchConfig()),
        "config is an OptimizeConfig or a dict",
    ),
    "rows where they do not belong": (
        lambda g: so.optimize(g.model, g.out, calibration_rows=64),
        "calibration_rows is no setting of OptimizeConfig: give it in a CalibrationConfig",
    ),
    "include='pooler'": (lambda g: LOOSE.OptimizeConfig(include="pooler"), "include is a list, .*'pooler'"),
    "floor=0.2": (lambda g: LOOSE.OptimizeConfig(floor=0.2), "floor is a table, .*0.2"),
    "floor of no role": (lambda g: so.OptimizeConfig(floor={"qurey": 0.2}), "`floor` is one of .*'qurey'"),
    "method='wihten'": (lambda g: so.OptimizeConfig(method="wihten"), "'wihten'; did you mean whiten"),
    "precision='fp8'": (lambda g: so.OptimizeConfig(precision="fp8"), "'fp8'; did you mean fp"),
    "distill=True": (lambda g: so.OptimizeConfig(distill=0), "`distill` is a positive number"),
    "no model": (lambda g: LOOSE.optimize(None, g.out), "model is a path, an onnx ModelProto.*; got None"),
    "a list of models": (lambda g: LOOSE.analyze([g.model]), "model is a path, .* a list|got \\["),
    "a model that is not there": (lambda g: so.analyze("nowhere"), "nowhere does not exist"),
    "an empty path": (lambda g: so.analyze(""), "model is a path; got ''"),
    "a proto of nothing": (lambda g: so.analyze(onnx.ModelProto()), "model"),
    "no out": (lambda g: LOOSE.optimize(g.model, None), "out is a path; got None"),
    "simulations=0": (lambda g: so.analyze(g.model, simulations=0), "`simulations` is a positive integer; got 0"),
    "a task without data": (
        lambda g: so.optimize(g.model, g.out, calibration="glue:mrpc"),
        "`calibration` glue:mrpc needs `data`",
    ),
    "a task that is none": (
        lambda g: so.CalibrationConfig("glue:mprc", data="glue"),
        "`task` is one of .*'mprc'",
    ),
    "text that is not there": (lambda g: so.optimize(g.model, g.out, calibration="no.txt"), "no.txt cannot be read"),
    "no text at all": (lambda g: so.optimize(g.model, g.out, calibration=[]), "calibration is empty"),
    "numbers for text": (lambda g: LOOSE.optimize(g.model, g.out, calibration=[1]), r"calibration\[0\] is 1"),
    "a number for text": (lambda g: LOOSE.optimize(g.model, g.out, calibration=3), "calibration is a file, .*got 3"),
    "a blank text": (lambda g: so.optimize(g.model, g.out, calibration=["a film", " "]), r"calibration\[1\] is blank"),
    "an input that is missing": (
        lambda g: so.optimize(g.model, g.out, calibration=[{"input_ids": g.feeds["input_ids"]}]),
        r"calibration\[0\] holds input_ids; the model takes attention_mask, input_ids",
    ),
    "an input that is a list": (
        lambda g: LOOSE.optimize(g.model, g.out, calibration=[{"input_ids": [[1, 2]]}]),
        r"calibration\[0\]: input_ids is \[\[1, 2\]\], not an array",
    ),
    "a calibration without text": (lambda g: LOOSE.load_calibration(g.loaded, None), "calibration is None"),
    "rows='many'": (lambda g: LOOSE.CalibrationConfig("x", rows="many"), "rows is an integer; got 'many'"),
    "columns of no table": (
        lambda g: so.CalibrationConfig("x.npz", columns="text=a"),
        "`columns` names those of a table",
    ),
    "a plan that is not there": (lambda g: so.optimize(g.model, g.out, plan="no.json"), "plan no.json"),
    "a plan that is a number": (lambda g: LOOSE.optimize(g.model, g.out, plan=3), "plan is a Plan, .*got 3"),
    "a plan and a filter": (
        lambda g: so.optimize(g.model, g.out, plan=g.plan, site_filter=lambda site: True),
        "leave out site_filter",
    ),
    "a filter that is a name": (
        lambda g: LOOSE.optimize(g.model, g.out, site_filter="query"),
        "site_filter is a function of a site .*'query'",
    ),
    "a plan and a cache": (lambda g: so.optimize(g.model, g.out, plan=g.plan, cache=g.out), "cache"),
    "a cache that is a number": (lambda g: LOOSE.optimize(g.model, g.out, cache=3), "cache is a path; got 3"),
    "a checkpoint that is a number": (
        lambda g: LOOSE.optimize(g.model, g.out, checkpoint=3),
        "checkpoint is a path; got 3",
    ),
    "a track that is a flag": (lambda g: LOOSE.optimize(g.model, g.out, track=True), "track is a Track; got True"),
    "a candidate that is a number": (lambda g: LOOSE.validate(g.model, 3), "candidate is a path, .*got 3"),
    "task='sst3'": (lambda g: so.validate(g.model, g.model, task="sst3"), "`task` is one of .*'sst3'"),
    "providers='cpu'": (lambda g: LOOSE.validate(g.model, g.model, providers="cpu"), "providers is a list, .*'cpu'"),
    "a model to time that is none": (lambda g: LOOSE.bench([g.model, None]), r"models\[1\] is a path"),
    "one model to time": (lambda g: LOOSE.bench(str(g.model)), "models is a list"),
    "form='tf'": (lambda g: so.package(g.model, g.out, {"form": "tf"}), "`form` is one of .*'tf'"),
    "a bundle that is none": (lambda g: LOOSE.verify(None), "bundle is a path; got None"),
    "a gate that is a number": (lambda g: LOOSE.optimize_within(g.model, g.out, 1.0), "gate is a GateConfig .*1.0"),
    "a gate without a task": (lambda g: so.optimize_within(g.model, g.out, {"max_drop": 1}), "GateConfig: .*'task'"),
    "squeeze of a number": (lambda g: LOOSE.squeeze(3), "model is a path, .*got 3"),
    "squeeze without text": (lambda g: so.squeeze(g.loaded, method="whiten"), "whiten"),
    "saving a path": (lambda g: LOOSE.save_model(g.model, g.out), "model is a path, an onnx ModelProto"),
}


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_a_sentence_that_names_what_was_written(given: Given, call: str) -> None:
    do, sentence = WRONG[call]
    with pytest.raises(so.SqueezeError, match=sentence) as caught:
        do(given)
    assert "\n" not in str(caught.value)
    assert not given.out.exists()


def models(given: Given) -> dict[str, Any]:
    return {
        "path": str(given.model),
        "proto": given.proto,
        "onnx-ir": ir.from_proto(given.proto),
        "loaded": given.loaded,
    }


@pytest.mark.parametrize("form", ["path", "proto", "onnx-ir", "loaded"])
def test_a_model_is_a_path_or_lies_in_memory(given: Given, form: str) -> None:
    model = models(given)[form]
    assert so.analyze(model, simulations=1)["size"]["eligible_parameters"] > 0
    report = so.optimize(model, given.out, method="svd", keep=0.5, simulations=1)
    same = so.read_plan(given.plan)
    assert so.read_plan(given.out) == same
    assert report["method"] == "svd"
    in_memory = dict.fromkeys(("name", "path"), "the model in memory")
    assert (report["model"] == in_memory) == (form != "path")
    assert (given.out / "tokenizer.json").exists() == (form in ("path", "loaded"))
    assert so.squeeze(model, method="svd", keep=0.5, simulations=1).plan.sites == same.sites


def test_a_model_in_memory_is_validated_against_a_path(given: Given) -> None:
    validation = so.validate(given.model, given.proto, latency_rounds=2, limit=4)
    told = validation.to_json()
    assert told["cosine_similarity"] == pytest.approx(1)
    assert (told["baseline"], told["candidate"]) == (str(given.model / "model.onnx"), "the model in memory")
    assert repr(validation) == "Validation(cosine 1.0000)"


def test_text_may_be_a_list_or_a_file_of_the_same(given: Given, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS), encoding="utf-8")
    [listed, read, configured] = (
        so.load_calibration(given.loaded, source)
        for source in (TEXTS, path, so.CalibrationConfig(str(path), max_length=128))  # type: ignore[call-arg]
    )
    for batch, same, again in zip(listed, read, configured, strict=True):
        for name, array in batch.feeds.items():
            assert np.array_equal(array, same.feeds[name])
            assert np.array_equal(array, again.feeds[name])
    assert len(listed.held_back) == len(read.held_back) > 0


def test_text_in_memory_is_told_in_the_report(given: Given) -> None:
    settings = so.OptimizeConfig(method="svd", simulations=1)
    texts: list[str | tuple[str, str]] = [("a film", "not bad"), *TEXTS[:30]]
    report = so.optimize(given.model, given.out, settings, calibration=texts)
    assert report["calibration"]["read_as"] == "texts given in Python"
    assert "measured on 4 texts" in repr(report)


def test_inputs_may_be_an_iterable_of_batches(given: Given) -> None:
    ids = np.random.default_rng(0).integers(4, len(WORDS), (20, 2, 6))
    feeds = ({"input_ids": each, "attention_mask": np.ones_like(each)} for each in ids)
    calibration = so.load_calibration(given.loaded, feeds)
    assert (len(calibration), len(calibration.held_back)) == (16, 4)
    result = so.squeeze(given.loaded, method="whiten", keep=0.5, calibration=calibration, refit=False)
    assert result.certificate is not None


def test_a_filter_leaves_sites_as_they_are(given: Given) -> None:
    queries = tuple(name for name in ELIGIBLE_SITES if name.endswith("query"))
    result = so.squeeze(given.loaded, method="svd", keep=0.5, site_filter=lambda site: site.role == "query")
    assert tuple(result.errors) == queries
    report = so.optimize(
        given.model, given.out, method="svd", keep=0.5, simulations=1, site_filter=lambda site: site.layer != 0
    )
    assert {site["layer"] for site in report["sites"]} == {1}


@pytest.mark.parametrize("settings", [{"precision": "int8"}, {"fuse": "cpu"}], ids=str)
def test_squeezing_in_memory_gives_what_the_folder_has(given: Given, settings: dict[str, str], tmp_path: Path) -> None:
    config = so.OptimizeConfig(method="svd", keep=0.5, simulations=1, **settings)  # type: ignore[arg-type]
    so.optimize(given.model, given.out, config)
    result = so.squeeze(given.loaded, config)
    so.save_model(result.model, tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == (given.out / "model.onnx").read_bytes()
    assert result.plan == so.read_plan(given.out)


def test_results_print_as_a_short_line_and_are_plain_values(given: Given) -> None:
    report = so.optimize(given.model, given.out, method="svd", keep=0.5, simulations=1)
    result = so.squeeze(given.loaded, method="svd", keep=0.5, simulations=1)
    found = [
        report,
        so.analyze(given.model, simulations=1),
        result,
        result.plan,
        so.load_calibration(given.model, TEXTS),
    ]
    for each in found:
        assert len(repr(each)) < 200
        assert len(each._repr_html_()) < 600
    for told in found:
        json.dumps(told.to_json())
    assert type(report.to_json()) is dict


def test_the_public_names_are_there_and_helped_with() -> None:
    text = pydoc.plain(pydoc.render_doc(so))
    for name in {*so.__all__} - {"__version__"}:
        assert name in text
        assert getattr(so, name) is not None
    for name, parameter in inspect.signature(so.optimize).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            assert f"\n    {name}: " in (so.optimize.__doc__ or ""), name
    with pytest.raises(AttributeError, match="did you mean optimize"):
        so.optimise  # noqa: B018
