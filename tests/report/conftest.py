"""Reports of tiny models with hostile node names, rendered, and a real browser to read them in."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.evaluate.validation import validate
from squeeze_onnx.workflows.optimize import analyze, optimize
from tests.text_models import write_classifier
from tests.tiny_encoder import SENTENCES, encoder_model, write_model_folder

NASTY = '<script>window.owned=1</script><img src=x onerror=window.owned=1>&"{{ 7 * 7 }}'
SENTIMENT = {"good": (-1.0, 1.0), "bad": (1.0, -1.0), "meh": (0.25, 0.0)}

Report = dict[str, Any]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = encoder_model(classifier=True)
    for node in model.graph.node:
        if node.name in ("layer.0/query", "pooler"):
            node.name = f"{NASTY}{node.name}"
    return write_model_folder(tmp_path_factory.mktemp("html") / "model", model)


@pytest.fixture(scope="session")
def optimization(model: Path) -> Report:
    texts = model.with_name("texts.txt")
    texts.write_text("\n".join(SENTENCES), encoding="utf-8")
    config = OptimizeConfig(keep=0.5, simulations=1, slice_neurons=False, refit=False)
    return optimize(model, model.with_name("out"), config, calibration=CalibrationConfig(str(texts)))


@pytest.fixture(scope="session")
def analysis(model: Path) -> Report:
    return analyze(model, AnalyzeConfig(simulations=1))


@pytest.fixture(scope="session")
def validation(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("validation")
    write_classifier(folder / "baseline", SENTIMENT)
    write_classifier(folder / NASTY.replace("/", ""), {**SENTIMENT, "meh": (0.0, 0.25)})
    (folder / "glue" / "SST-2").mkdir(parents=True)
    rows = "sentence\tlabel\ngood\t1\nbad\t0\nmeh\t0\ngood good\t1\n"
    (folder / "glue" / "SST-2" / "dev.tsv").write_text(rows, encoding="utf-8")
    config = ValidateConfig(task="sst2", data=folder / "glue", max_drop=10.0, latency_rounds=2, robustness=True)
    return validate(folder / "baseline", folder / NASTY.replace("/", ""), config).to_json()


@pytest.fixture(scope="session")
def search() -> Mapping[str, Any]:
    """What `optimize --max-drop` reports of its search."""
    point = {
        "keep": 0.5,
        "metric": 0.81,
        "drop_points": 1.25,
        "drop_interval": [0.5, 2.0],
        "bytes": 3e6,
        "passed": False,
    }
    passing = point | {"keep": 0.52, "drop_points": 0.75, "passed": True}
    return {
        "task": "stsb",
        "primary_metric": "spearman",
        "max_drop": 1.0,
        "selection": {"split": "train", "rows": 700, "baseline": 0.8, "points": [point, passing]},
        "gate": {"split": "validation", "rows": 300, "baseline": 0.9, "points": [passing]},
    }


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: the one that SQUEEZE_CHROMIUM names, or that of the machine."""
    path = os.environ.get("SQUEEZE_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium: install it, or name one in SQUEEZE_CHROMIUM")
    flags = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
    quiet = ("--disable-background-networking", "--disable-component-update")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*flags, *quiet])
        yield browser
        browser.close()
