"""``optimize``: what it writes, what it reads, what it does to models that are unusual."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.cli.optimized import OPTIMIZED_FILES, WEIGHTS, read_json, truncated
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.reference import minilm_l6
from tests.tiny_encoder import (
    ELIGIBLE_PARAMETERS,
    ELIGIBLE_SITES,
    SENTENCES,
    batch,
    encoder_model,
    outputs,
    weights_of,
    with_weights,
    write_model_folder,
)
from tests.tiny_models import matmul_model


class TestOutput:
    def test_is_a_folder_that_loaders_take_as_it_is(self, half: tuple[Path, str], model: Path) -> None:
        out, _ = half
        assert {path.name for path in out.iterdir()} == OPTIMIZED_FILES | {"tokenizer.json", "config.json"}
        for name in ("tokenizer.json", "config.json"):
            assert (out / name).read_bytes() == (model / name).read_bytes()
        assert (out / "model.onnx").stat().st_size < (model / "model.onnx").stat().st_size
        onnx.checker.check_model(out / "model.onnx", full_check=True)

    def test_computes_what_truncated_weights_compute(self, half: tuple[Path, str], work: Path) -> None:
        ranks = {site["name"]: site["rank"] for site in read_json(half[0] / "report.json")["sites"]}
        model = encoder_model(classifier=True)
        weights = weights_of(model)
        dense = {f"{site}.weight": truncated(weights[f"{site}.weight"], rank) for site, rank in ranks.items()}
        write_model_folder(work / "reference", with_weights(model, dense))
        np.testing.assert_allclose(outputs(half[0]), outputs(work / "reference"), atol=1e-5)

    def test_is_announced_by_tables_and_the_next_command(self, half: tuple[Path, str], model: Path) -> None:
        out, stdout = half
        assert all(f"\n{site} " in stdout for site in ELIGIBLE_SITES)
        assert "role pooler is not eligible here" in stdout
        assert f"{out}: 82.5 kB → " in stdout
        assert stdout.endswith(f"Next: squeeze-onnx validate {model} {out}\n")

    def test_report_has_the_keys_of_the_design(self, half: tuple[Path, str]) -> None:
        report = read_json(half[0] / "report.json")
        assert report["format"] == "squeeze-onnx/report/1"
        assert report["method"] == "svd"
        assert set(report["size"]) == {
            *("baseline_bytes", "optimized_bytes", "baseline_parameters", "optimized_parameters"),
            *("eligible_parameters", "kept_eligible_parameters"),
        }
        assert report["size"]["eligible_parameters"] == ELIGIBLE_PARAMETERS
        assert report["size"]["optimized_bytes"] == (half[0] / "model.onnx").stat().st_size
        assert [site["name"] for site in report["sites"]] == list(ELIGIBLE_SITES)
        for site in report["sites"]:
            assert {"name", "layer", "role", "shape", "rank", "break_even_rank", "weighted_error"} <= set(site)
            assert set(site["spectrum"]) >= {
                *("aspect_ratio", "noise_sigma", "mp_edge", "tw_edge", "signal_rank"),
                *("effective_rank", "stable_rank", "ks_distance", "energy_kept"),
            }
        assert [skipped["name"] for skipped in report["skipped"]] == ["embedding", "pooler", "classifier"]
        assert set(report["timing"]) >= {"load", "sites", "spectra", "rewrite", "save"}
        assert report["environment"]["packages"]["numpy"] == np.__version__

    def test_page_shows_every_site(self, half: tuple[Path, str]) -> None:
        page = (half[0] / "report.html").read_text(encoding="utf-8")
        assert all(site in page for site in ELIGIBLE_SITES)

    def test_may_lie_in_the_input_folder(self, call_cli: RunCli, tmp_path: Path) -> None:
        model = write_model_folder(tmp_path / "model")
        before = snapshot(model)
        assert call_cli("optimize", model, "-o", model / "small", "--quiet").returncode == 0
        assert {path: content for path, content in snapshot(model).items() if not path.startswith("small")} == before

    def test_replaces_another_by_force_and_is_quiet_if_asked(
        self, call_cli: RunCli, model: Path, tmp_path: Path
    ) -> None:
        asked = ("optimize", model / "model.onnx", "-o", tmp_path / "out", "--force", "--quiet")
        assert call_cli(*asked, "--external-data").returncode == 0
        done = call_cli(*asked)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not (tmp_path / "out" / "model.onnx.data").exists()
        report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
        assert report["written"] == sorted(path.name for path in (tmp_path / "out").iterdir())
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        (tmp_path / "out" / "notes.md").touch()
        before = snapshot(tmp_path)
        done = call_cli(*asked)
        assert (done.returncode, done.stdout) == (2, "")
        assert "out holds notes.md, which squeeze-onnx did not write there: move that away" in done.stderr
        assert snapshot(tmp_path) == before

    def test_keeps_its_weights_beside_if_asked(
        self, optimize: Callable[..., Path], half: tuple[Path, str], model: Path
    ) -> None:
        out = optimize(model, "--method", "svd", "--keep", "0.5", "--external-data")
        assert (out / "model.onnx.data").stat().st_size > (out / "model.onnx").stat().st_size
        np.testing.assert_array_equal(outputs(out), outputs(half[0]))
        assert optimize(out, "--keep", "1").joinpath("model.onnx").exists()


class TestCalibration:
    def test_makes_auto_look_at_activations_and_the_same_seed_writes_the_same_bytes(
        self, run_cli: RunCli, optimize: Callable[..., Path], work: Path, tmp_path: Path
    ) -> None:
        options = ("--calibration", work / "text", "--calibration-rows", "3", "--keep", "0.5")
        out = optimize(work / "model", *options, "--seed", "1")
        assert read_json(out / "report.json")["method"] == "fisher"
        done = run_cli("optimize", work / "model", "-o", tmp_path / "again", *options, "--seed", "1")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "again" / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()
        other = optimize(work / "model", *options, "--seed", "2")
        assert (other / "model.onnx").read_bytes() != (out / "model.onnx").read_bytes()

    def test_reads_the_train_split_of_a_task_but_no_label(
        self, optimize: Callable[..., Path], model: Path, tmp_path: Path
    ) -> None:
        rows = "".join(f"{sentence}\tno label\n" for sentence in SENTENCES)
        (tmp_path / "SST-2").mkdir()
        (tmp_path / "SST-2" / "train.tsv").write_text(f"sentence\tlabel\n{rows}", encoding="utf-8")
        out = optimize(model, "--task", "sst2", "--data", tmp_path)
        assert read_json(out / "report.json")["method"] == "fisher"
        again = optimize(model, "--calibration", "glue:SST-2", "--data", tmp_path)
        assert (again / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()

    def test_says_which_columns_of_a_table_it_reads(self, call_cli: RunCli, model: Path, tmp_path: Path) -> None:
        rows = "".join(f"{sentence},1\n" for sentence in SENTENCES)
        (tmp_path / "rows.csv").write_text(f"sentence,label\n{rows}", encoding="utf-8")
        done = call_cli(
            "optimize", model, "-o", tmp_path / "out", "--keep", "0.5", "--calibration", tmp_path / "rows.csv"
        )
        assert (
            "rows.csv was read as CSV: text=sentence (columns found by their names; --columns names others)"
            in " ".join(done.stdout.split())
        )
        assert read_json(tmp_path / "out" / "report.json")["calibration"]["columns"]["text"] == "sentence"

    def test_takes_inputs_as_arrays(self, optimize: Callable[..., Path], model: Path, tmp_path: Path) -> None:
        inputs: dict[str, Any] = dict(batch())
        np.savez(tmp_path / "inputs.npz", **inputs)
        report = read_json(optimize(model, "--calibration", tmp_path / "inputs.npz") / "report.json")
        assert report["method"] == "fisher"


class TestUnusualModel:
    @pytest.mark.parametrize("method", ["squeeze", "svd", "whiten"])
    @pytest.mark.parametrize("keep", [(), ("--keep", "0.5")], ids=["no budget", "half"])
    def test_of_zeros_stays_a_model_of_zeros(
        self, optimize: Callable[..., Path], work: Path, tmp_path: Path, method: str, keep: tuple[str, ...]
    ) -> None:
        model = encoder_model()
        zeros = {name: np.zeros_like(array) for name, array in weights_of(model).items() if name in WEIGHTS}
        folder = write_model_folder(tmp_path / "zeros", with_weights(model, zeros))
        out = optimize(folder, "--method", method, *keep, "--calibration", work / "text")
        np.testing.assert_array_equal(outputs(out), outputs(folder))

    def test_with_a_foreign_operator_keeps_it(self, optimize: Callable[..., Path], tmp_path: Path) -> None:
        nodes = [
            helper.make_node("MatMul", ["x", "W"], ["h"], name="linear"),
            helper.make_node("Mystery", ["h"], ["y"], name="riddle", domain="org.example", depth=3),
        ]
        model = matmul_model(numpy_helper.from_array(np.eye(8, dtype=np.float32), "W"), nodes=nodes)
        model.opset_import.append(helper.make_opsetid("org.example", 7))
        folder = tmp_path / "foreign"
        folder.mkdir()
        onnx.save(model, folder / "model.onnx")
        written = onnx.load(optimize(folder, "--include", "other", "--include", "classifier") / "model.onnx")
        assert [node.op_type for node in written.graph.node] == ["MatMul", "MatMul", "Mystery"]
        assert written.graph.node[-1] == nodes[-1]
        assert helper.make_opsetid("org.example", 7) in written.opset_import

    def test_whose_nodes_share_a_name_has_sites_of_different_names(
        self, optimize: Callable[..., Path], tmp_path: Path
    ) -> None:
        model = encoder_model()
        for node in model.graph.node:
            node.name = "node"
        # onnxruntime opens no such model, ONNX allows it.
        out = optimize(write_model_folder(tmp_path / "same", model), "--keep", "0.5")
        sites = read_json(out / "report.json")["sites"]
        assert len({site["name"] for site in sites}) == len(sites) == len(ELIGIBLE_SITES)
        assert {site["treatment"] for site in sites} == {"factored"}
        onnx.checker.check_model(out / "model.onnx", full_check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of Unix")
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "squeeze-onnx: error: interrupted"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_an_interrupted_run_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, status: int, said: str
) -> None:
    large = np.random.default_rng(0).standard_normal((900, 900)).astype(np.float32)
    onnx.save(matmul_model(numpy_helper.from_array(large, "W")), tmp_path / "model.onnx")
    before = snapshot(tmp_path)
    command = ("optimize", tmp_path / "model.onnx", "-o", tmp_path / "new" / "out", "--include", "classifier")
    with subprocess.Popen(
        [sys.executable, "-m", "squeeze_onnx", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        while process.poll() is None and not list(tmp_path.glob("new/.out.partial-*")):
            time.sleep(0.005)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr.strip()) == (status, "", said)
    assert snapshot(tmp_path) == before


@pytest.mark.slow
def test_half_of_a_real_encoder_by_plain_svd(run_cli: RunCli, model_cache: Path, glue: Path, tmp_path: Path) -> None:
    model = minilm_l6(model_cache)
    analysis = json.loads(run_cli("analyze", model, "--json", "-").stdout)
    roles = [site["role"] for site in analysis["sites"] if site["eligible"]]
    assert {role: roles.count(role) for role in roles} == dict.fromkeys(
        ("query", "key", "value", "attention_output", "ffn_in", "ffn_out"), 6
    )
    done = run_cli("optimize", model, "-o", tmp_path / "half", "--method", "svd", "--keep", "0.5")
    assert done.returncode == 0, done.stderr
    done = run_cli("validate", model, tmp_path / "half", "--task", "stsb", "--data", glue, "--json", "-")
    assert done.returncode == 0, done.stderr
    spearman = json.loads(done.stdout)["metrics"]["spearman"]
    assert spearman["baseline"] == pytest.approx(0.867, abs=0.001)
    assert spearman["candidate"] == pytest.approx(0.7987, abs=0.001)
