"""``optimize --method soco``, as a user runs it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import RunCli
from tests.tiny_encoder import WORDS, weights_of, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an encoder in ``model`` and sentences in ``text``."""
    folder = tmp_path_factory.mktemp("soco")
    write_model_folder(folder / "model")
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 12, 64)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def learned(run_cli: RunCli, work: Path) -> Path:
    done = run_cli(*arguments(work, "learned", "--method", "soco", "--keep", "0.5"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return work / "learned"


def arguments(work: Path, out: str, *options: str) -> list[str]:
    text = ["--calibration", str(work / "text")]
    return ["optimize", str(work / "model"), "-o", str(work / out), *text, "--quiet", *options]


def operators(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)


def test_meets_the_budget_with_thin_products_and_nothing_else(work: Path, learned: Path) -> None:
    report = json.loads((learned / "report.json").read_text(encoding="utf-8"))
    size = report["size"]
    assert report["method"] == "soco"
    assert 0.48 < size["kept_eligible_parameters"] / size["eligible_parameters"] <= 0.5
    assert {site["treatment"] for site in report["sites"]} <= {"dense", "factored"}
    factored = sum(site["treatment"] == "factored" for site in report["sites"])
    assert operators(learned) - operators(work / "model") == Counter(MatMul=factored)


def test_reports_how_its_stages_ended(learned: Path) -> None:
    stages = json.loads((learned / "report.json").read_text(encoding="utf-8"))["stages"]
    assert [stage["name"] for stage in stages] == ["compression", "alternation", "sparsification"]
    assert all(stage["met"] and stage["steps"] > 0 for stage in stages)


def test_its_plan_re_applied_has_the_ranks_but_truncates_what_inputs_see(
    run_cli: RunCli, work: Path, learned: Path
) -> None:
    plan = learned / "plan.json"
    assert run_cli(*arguments(work, "again", "--plan", str(plan))).returncode == 0
    assert json.loads((work / "again" / "plan.json").read_text()) == json.loads(plan.read_text())
    assert json.loads((work / "again" / "report.json").read_text())["stages"] == []
    first, second = (weights_of(onnx.load(folder / "model.onnx")) for folder in (learned, work / "again"))
    assert {name: array.shape for name, array in first.items()} == {name: a.shape for name, a in second.items()}
    distance = [
        json.loads((folder / "report.json").read_text(encoding="utf-8"))["certificate"]["measured"]["mean"]
        for folder in (learned, work / "again")
    ]
    assert distance[0] < distance[1]


def test_needs_text(call_cli: RunCli, work: Path) -> None:
    done = call_cli("optimize", work / "model", "-o", work / "refused", "--method", "soco")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("squeeze-onnx: error: --method soco looks at activations; give --calibration")
