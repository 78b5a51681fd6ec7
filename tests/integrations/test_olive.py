"""The pass for Olive, with stand-ins for what it takes from Olive (tools/run_olive.py runs it in Olive itself)."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.tiny_encoder import SENTENCES, encoder_model, write_model_folder


@dataclass
class Parameter:
    type_: Any
    default_value: Any = None
    description: str = ""
    search_defaults: Any = None


@dataclass
class Handler:
    model_path: str
    onnx_file_name: str
    model_attributes: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def olive_pass(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return the module, imported beside an Olive of stand-ins."""
    stand_ins: dict[str, dict[str, Any]] = {
        "olive": {},
        "olive.hardware": {},
        "olive.hardware.accelerator": {"AcceleratorSpec": object},
        "olive.model": {"ONNXModelHandler": Handler},
        "olive.passes": {"Pass": object},
        "olive.passes.pass_config": {"BasePassConfig": object, "PassConfigParam": Parameter},
        "olive.search": {},
        "olive.search.search_parameter": {"Categorical": tuple},
    }
    for name, members in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "squeeze_onnx.integrations.olive", raising=False)
    yield importlib.import_module("squeeze_onnx.integrations.olive")
    sys.modules.pop("squeeze_onnx.integrations.olive", None)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write_model_folder(tmp_path / "model", encoder_model(classifier=True))
    (tmp_path / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return tmp_path


def asked(olive_pass: ModuleType, **given: Any) -> SimpleNamespace:
    """Return what Olive makes of the defaults and what was given."""
    defaults = olive_pass.SqueezeLowRank._default_config(None)
    return SimpleNamespace(**({name: each.default_value for name, each in defaults.items()} | given))


def test_writes_a_folder_that_the_next_pass_reads(olive_pass: ModuleType, work: Path) -> None:
    before = Handler(str(work / "model" / "model.onnx"), "model.onnx")
    config = asked(olive_pass, calibration=str(work / "text"), options={"refit": False})
    after = olive_pass.SqueezeLowRank()._run_for_config(before, config, str(work / "cache" / "output.onnx"))
    out = Path(after.model_path)
    assert (out / after.onnx_file_name).is_file()
    plan = json.loads((out / "plan.json").read_text())
    assert (plan["method"], plan["budget"], plan["refit"]) == ("fisher", {"keep": 0.5}, False)
    beside = {Path(path).name for path in after.model_attributes["additional_files"]}
    assert {"config.json", "tokenizer.json"} <= beside


def test_needs_no_data(olive_pass: ModuleType, work: Path) -> None:
    before = Handler(str(work / "model" / "model.onnx"), "model.onnx")
    after = olive_pass.SqueezeLowRank()._run_for_config(before, asked(olive_pass, keep=0.75), str(work / "out"))
    assert json.loads((Path(after.model_path) / "plan.json").read_text())["method"] == "svd"


def test_searches_over_budget_and_method(olive_pass: ModuleType) -> None:
    searched = {name for name, each in olive_pass.SqueezeLowRank._default_config(None).items() if each.search_defaults}
    assert searched == {"keep", "method"}


def test_the_package_configuration_keeps_the_passes_of_olive(
    olive_pass: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "olive_config.json").write_text(json.dumps({"passes": {"Known": {}}, "extra_dependencies": {}}))
    monkeypatch.setattr(olive_pass, "files", lambda package: tmp_path)
    config = olive_pass.package_config()
    assert set(config["passes"]) == {"Known", "SqueezeLowRank"}
    assert config["passes"]["SqueezeLowRank"]["module_path"].rsplit(".", 1) == [olive_pass.__name__, "SqueezeLowRank"]
