"""Every schema against files that were really produced, and against the same files with one thing wrong."""

import json
import tomllib
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator, ValidationError

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.report.schemas import SchemaName, load_schema
from squeeze_onnx.workflows.dry_run import foresee
from squeeze_onnx.workflows.optimize import analyze, optimize
from squeeze_onnx.workflows.recipe import read_recipe, recipe_schema
from squeeze_onnx.workflows.recipe_run import run_recipe
from tests.recipes import RECIPE
from tests.tiny_encoder import SENTENCES, encoder_model, write_model_folder

DEV = "sentence\tlabel\nthe film was good\t0\npoor and dull\t1\n"

Documents = Mapping[SchemaName, dict[str, Any]]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a classifier, a recipe for it, calibration text and a dev set."""
    folder = tmp_path_factory.mktemp("schemas")
    write_model_folder(folder / "model", encoder_model(classifier=True))
    (folder / "glue" / "SST-2").mkdir(parents=True)
    (folder / "glue" / "SST-2" / "dev.tsv").write_text(DEV, encoding="utf-8")
    (folder / "texts.txt").write_text("\n".join(SENTENCES), encoding="utf-8")
    (folder / "squeeze.toml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def documents(work: Path) -> Documents:
    """Produce one of each kind."""
    run = run_recipe(read_recipe(work / "squeeze.toml"))
    goal, text = OptimizeConfig(max_size="40kB", effort="quick"), CalibrationConfig(str(work / "texts.txt"))
    shapes = BenchConfig(batch_sizes=(1,), sequence_lengths=(8,), rounds=2, memory=False)
    return {
        "analysis": json.loads(json.dumps(analyze(work / "model", AnalyzeConfig(simulations=1)))),
        "run": run,
        "report": read(work / "small" / "report.json"),
        "plan": read(work / "small" / "plan.json"),
        "validation": run["validation"],
        "manifest": read(work / "bundle" / "manifest.json"),
        "bench": json.loads(json.dumps(bench([work / "model", work / "small"], shapes).to_json())),
        "recipe": tomllib.loads(RECIPE),
        "forecast": json.loads(json.dumps(foresee(work / "model", work / "none", goal, calibration=text))),
    }


@pytest.mark.parametrize("name", get_args(SchemaName))
def test_a_schema_takes_what_was_produced(documents: Documents, name: SchemaName) -> None:
    Draft202012Validator.check_schema(load_schema(name))
    Draft202012Validator(load_schema(name)).validate(documents[name])


def test_a_report_without_calibration_fits_too(work: Path, documents: Documents) -> None:
    assert documents["report"]["certificate"]
    assert documents["report"]["fused"]
    optimize(work / "model", work / "truncated", OptimizeConfig(method="svd"))
    report = read(work / "truncated" / "report.json")
    assert report["certificate"] is report["fused"] is None
    Draft202012Validator(load_schema("report")).validate(report)


WRONG: list[tuple[SchemaName, Callable[[dict[str, Any]], object]]] = [
    ("analysis", lambda analysis: analysis["sites"][0]["spectrum"].pop("tw_edge")),
    ("analysis", lambda analysis: analysis.update(format="squeeze-onnx/report/1")),
    ("run", lambda run: run.pop("passed")),
    ("report", lambda report: report["size"].pop("optimized_bytes")),
    ("report", lambda report: report["sites"][0].update(rank=0)),
    ("report", lambda report: report["sites"][0]["spectrum"].update(aspect_ratio=4)),
    ("plan", lambda plan: plan["sites"][0].update(shape=[32])),
    ("plan", lambda plan: plan.update(format="squeeze-onnx/plan/2")),
    ("validation", lambda validation: validation["metrics"]["accuracy"].update(drop_points="much")),
    ("validation", lambda validation: validation["latency"]["cpu"].pop("candidate")),
    ("manifest", lambda manifest: manifest["files"]["run.py"].update(sha256="?")),
    ("manifest", lambda manifest: manifest.update(price=3)),
    ("bench", lambda bench: bench["shapes"][0]["models"][1].update(verdict="maybe")),
    ("recipe", lambda recipe: recipe["optimize"].update(kepp=0.5)),
    ("recipe", lambda recipe: recipe.pop("model")),
]


@pytest.mark.parametrize(("name", "spoil"), WRONG)
def test_a_schema_refuses_what_is_wrong(
    documents: Documents, name: SchemaName, spoil: Callable[[dict[str, Any]], object]
) -> None:
    document = deepcopy(documents[name])
    spoil(document)
    with pytest.raises(ValidationError):
        Draft202012Validator(load_schema(name)).validate(document)


def test_the_schema_of_recipes_is_that_of_the_configs() -> None:
    assert load_schema("recipe") == recipe_schema(), "a config changed: python -m tools.recipe_schema"
