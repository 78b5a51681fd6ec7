"""``optimize --precision`` as a user runs it."""

import json
from pathlib import Path

import onnx
import pytest

from tests.conftest import RunCli
from tests.tiny_encoder import SENTENCES, outputs, write_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("precision")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return write_model_folder(folder / "model")


def test_int4_is_written_reported_and_runs(run_cli: RunCli, model: Path, tmp_path: Path) -> None:
    out, text = tmp_path / "int4", model.parent / "text"
    options = ("--method", "svd", "--keep", "0.5", "--calibration", text, "--precision", "int4")
    done = run_cli("optimize", model, "-o", out, *options)
    assert done.returncode == 0, done.stderr
    assert "weights in int4" in done.stdout
    precision = json.loads((out / "report.json").read_text())["precision"]
    assert precision["bytes"]["after"] < precision["bytes"]["before"]
    assert outputs(out).shape == outputs(model).shape


def test_static_int8_without_data_is_refused_in_one_sentence(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call_cli("optimize", model, "-o", out, "--method", "svd", "--precision", "int8-static")
    assert done.returncode == 2
    assert "--precision int8-static takes ranges from data" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("precision", ["int4", "int8-int4"])
def test_a_table_is_cut_to_whole_blocks_so_that_its_factor_is_rounded(
    call_cli: RunCli, model: Path, tmp_path: Path, precision: str
) -> None:
    """Rank 11 is what 0.6 of its parameters buys, and rows of 11 are no blocks of 16."""
    options = ("--method", "svd", "--keep", "0.6", "--include", "embedding", "--precision", precision)
    done = call_cli("optimize", model, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    sites = json.loads((tmp_path / "out" / "plan.json").read_text())["sites"]
    assert {site["name"]: site["rank"] for site in sites}["embedding"] == 16
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert "GatherBlockQuantized" in {node.op_type for node in graph.node}
    assert "float32" not in done.stdout
