"""``optimize --remove-sublayers``: whole attentions and feed-forward blocks go, in the plan, the model and the report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.optimized import read_json
from tests.conftest import RunCli
from tests.tiny_encoder import WORDS, encoder_model, outputs, weights_of, with_weights, write_model_folder

QUIET = ("layer.0/ffn_out.weight", "layer.1/attention_output.weight")
OPTIONS = ("--method", "whiten", "--keep", "0.5", "--remove-sublayers")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a classifier in ``model``, of which some sublayers hardly say anything, and sentences in ``text``."""
    folder = tmp_path_factory.mktemp("removed")
    model = encoder_model(classifier=True)
    quiet = {name: 1e-3 * weights_of(model)[name] for name in QUIET}
    write_model_folder(folder / "model", with_weights(model, quiet))
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 6)) for _ in range(48)]
    (folder / "text").write_text("\n".join(texts), encoding="utf-8")
    return folder


@pytest.fixture
def small(call_cli: RunCli, work: Path) -> Path:
    out = work / "small"
    if not out.exists():
        done = call_cli("optimize", work / "model", "-o", out, *OPTIONS, "--calibration", work / "text")
        assert (done.returncode, done.stderr) == (0, "")
        assert "removed" in done.stdout
    return out


def gone_from(folder: Path) -> set[str]:
    return {site["name"] for site in read_json(folder / "plan.json")["sites"] if site.get("removed")}


def test_what_the_plan_removes_is_neither_in_the_model_nor_in_the_budget(small: Path) -> None:
    gone, report = gone_from(small), read_json(small / "report.json")
    assert {f"{name}.weight" for name in gone} >= {*QUIET}
    assert gone.isdisjoint(node.name for node in onnx.load(small / "model.onnx").graph.node)
    entries = {site["name"]: site for site in report["sites"]}
    assert {name for name, site in entries.items() if site["treatment"] == "removed"} == gone
    assert all(entries[name]["kept_parameters"] == 0 for name in gone)
    size = report["size"]
    assert size["kept_eligible_parameters"] <= 0.5 * size["eligible_parameters"]
    assert "gone with its sublayer" in (small / "report.html").read_text(encoding="utf-8")


def test_a_model_of_which_no_sublayer_can_go_is_refused(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    floors = [word for role in ("attention_output", "ffn_out") for word in ("--floor", f"{role}=0.1")]
    done = call_cli("optimize", work / "model", "-o", tmp_path / "o", *OPTIONS, "--calibration", work / "text", *floors)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--remove-sublayers has nothing to take out of " in done.stderr


def test_a_plan_removes_them_again_and_what_is_left_learns_and_is_rounded(
    small: Path, work: Path, optimize: Callable[..., Path]
) -> None:
    plan = ("--plan", small / "plan.json", "--calibration", work / "text")
    again = optimize(work / "model", *plan)
    np.testing.assert_allclose(outputs(again), outputs(small), atol=1e-5)
    rounded = optimize(work / "model", *plan, "--distill", "2", "--precision", "int8")
    assert gone_from(rounded) == gone_from(small)
    operators = {node.op_type for node in onnx.load(rounded / "model.onnx").graph.node}
    assert operators & {"MatMulInteger", "DynamicQuantizeMatMul"}
    assert np.abs(outputs(rounded) - outputs(small)).max() < 0.5


def test_nothing_goes_unless_that_is_asked_for(work: Path, optimize: Callable[..., Path]) -> None:
    assert not gone_from(optimize(work / "model", *OPTIONS[:4], "--calibration", work / "text"))
