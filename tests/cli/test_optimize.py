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

from tests.conftest import RunCli
from tests.folders import snapshot
from tests.reference import minilm_l6
from tests.tiny_encoder import (
    ELIGIBLE_PARAMETERS,
    ELIGIBLE_SITES,
    HIDDEN,
    INTERMEDIATE,
    LAYERS,
    SENTENCES,
    batch,
    encoder_model,
    outputs,
    weights_of,
    with_weights,
    write_model_folder,
)
from tests.tiny_models import matmul_model

OPTIMIZED_FILES = {"model.onnx", "plan.json", "report.json", "report.html"}
WEIGHTS = tuple(f"{site}.weight" for site in ELIGIBLE_SITES)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def initializers(folder: Path) -> dict[str, np.ndarray]:
    return weights_of(onnx.load(folder / "model.onnx"))


def truncated(weight: np.ndarray, rank: int) -> np.ndarray:
    left, values, right = np.linalg.svd(weight.astype(np.float64))
    product: np.ndarray = (left[:, :rank] * values[:rank]) @ right[:rank]
    return product.astype(weight.dtype)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a classifier in ``model`` and sentences in ``text``."""
    folder = tmp_path_factory.mktemp("optimize")
    write_model_folder(folder / "model", encoder_model(classifier=True))
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(work: Path) -> Path:
    return work / "model"


@pytest.fixture(scope="module")
def half(run_cli: RunCli, work: Path) -> tuple[Path, str]:
    """Squeeze the model to half of its eligible parameters by plain SVD; return the folder and what was printed."""
    before = snapshot(work / "model")
    done = run_cli("optimize", work / "model", "-o", work / "half", "--method", "svd", "--keep", "0.5", "--verbose")
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(work / "model") == before
    return work / "half", done.stdout


@pytest.fixture
def optimize(call_cli: RunCli, tmp_path: Path) -> Callable[..., Path]:
    """Squeeze a model into a new folder, which is returned."""

    def run(model: Path, *options: str | Path) -> Path:
        out = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}"
        done = call_cli("optimize", model, "-o", out, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return out

    return run


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
        assert f"Next: squeeze-onnx validate {model} {out} " in stdout

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
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.txt").touch()
        done = call_cli("optimize", model / "model.onnx", "-o", tmp_path / "out", "--force", "--quiet")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert not (tmp_path / "out" / "old.txt").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_keeps_its_weights_beside_if_asked(
        self, optimize: Callable[..., Path], half: tuple[Path, str], model: Path
    ) -> None:
        out = optimize(model, "--method", "svd", "--keep", "0.5", "--external-data")
        assert (out / "model.onnx.data").stat().st_size > (out / "model.onnx").stat().st_size
        np.testing.assert_array_equal(outputs(out), outputs(half[0]))
        assert optimize(out, "--keep", "1").joinpath("model.onnx").exists()


class TestBudget:
    @pytest.mark.parametrize("keep", ["0.25", "0.75"])
    @pytest.mark.parametrize("method", ["squeeze", "svd", "whiten", "fisher", "tfwsvd"])
    def test_is_kept_and_nearly_spent(self, optimize: Callable[..., Path], work: Path, method: str, keep: str) -> None:
        out = optimize(work / "model", "--method", method, "--keep", keep, "--calibration", work / "text")
        size = read_json(out / "report.json")["size"]
        assert 0.85 * float(keep) < size["kept_eligible_parameters"] / size["eligible_parameters"] <= float(keep)
        removed = size["eligible_parameters"] - size["kept_eligible_parameters"]
        biases = (
            LAYERS * (INTERMEDIATE + 3 * HIDDEN) if method in {"whiten", "fisher"} else 0
        )  # they go with their neurons and heads
        assert 0 <= size["baseline_parameters"] - size["optimized_parameters"] - removed <= biases
        assert np.isfinite(outputs(out)).all()

    def test_leaves_columns_alone_if_asked(self, optimize: Callable[..., Path], work: Path) -> None:
        options = ("--method", "whiten", "--keep", "0.3", "--calibration", work / "text")
        kinds = {"--no-thin-heads": ("query", "key", "value"), "--no-slice-neurons": ("ffn_in", "ffn_out")}
        sliced = [
            site["role"]
            for site in read_json(optimize(work / "model", *options) / "plan.json")["sites"]
            if site["kept_shape"]
        ]
        for option, roles in kinds.items():
            sites = read_json(optimize(work / "model", *options, option) / "plan.json")["sites"]
            assert set(roles) & set(sliced)
            assert not [site for site in sites if site["role"] in roles and site["kept_shape"]]

    def test_lets_no_weights_share_a_left_factor_if_asked(self, optimize: Callable[..., Path], work: Path) -> None:
        options = ("--method", "whiten", "--keep", "0.3", "--calibration", work / "text", "--cache", work / "cache")
        for option, shared in (("--joint-qkv", True), ("--no-joint-qkv", False)):
            out = optimize(work / "model", *options, "--no-thin-heads", "--no-refit", option)
            sites = read_json(out / "plan.json")["sites"]
            assert any(site["shares_left"] for site in sites) == shared
        assert len(list((work / "cache").iterdir())) == 1  # one survey serves both

    def test_of_everything_changes_nothing(self, optimize: Callable[..., Path], model: Path) -> None:
        np.testing.assert_allclose(outputs(optimize(model, "--keep", "1")), outputs(model), atol=1e-5)

    def test_is_the_noise_edge_without_keep(self, optimize: Callable[..., Path], model: Path) -> None:
        report = read_json(optimize(model, "--method", "squeeze") / "report.json")
        assert report["budget"] == {"probability": 0.95, "noise": "entries"}
        for site in report["sites"]:
            assert site["spectrum"]["signal_rank"] == 2  # what the tiny encoder was given
            assert site["rank"] == 3  # and the mean

    def test_of_the_paper_is_for_the_ffn_only(self, optimize: Callable[..., Path], model: Path) -> None:
        report = read_json(optimize(model, "--preset", "paper-ffn") / "report.json")
        assert report["budget"] == {"preset": "paper-ffn"}
        assert {site["role"] for site in report["sites"]} == {"ffn_in", "ffn_out"}
        for site in report["sites"]:
            assert site["spectrum"]["effective_rank_after"] >= 0.36 * site["spectrum"]["effective_rank"]

    def test_is_spent_on_roles_taken_in_and_not_on_sites_left_out(
        self, optimize: Callable[..., Path], model: Path
    ) -> None:
        roles = [word for role in ("embedding", "pooler", "classifier") for word in ("--include", role)]
        out = optimize(model, "--keep", "0.6", *roles, "--exclude", "layer.0/key")
        report = read_json(out / "report.json")
        expected = ["embedding", *(site for site in ELIGIBLE_SITES if site != "layer.0/key"), "pooler", "classifier"]
        assert [site["name"] for site in report["sites"]] == expected
        assert {site["treatment"] for site in report["sites"]} == {"factored"}
        assert report["skipped"] == [{"name": "layer.0/key", "reason": "excluded by name"}]
        assert {name for name in initializers(out) if name.endswith(".weight")} == {"layer.0/key.weight"}
        assert np.isfinite(outputs(out)).all()


class TestAboveBreakEven:
    @pytest.fixture
    def strong(self, tmp_path: Path) -> Path:
        """Write a model whose first query weight has 15 components far above the noise: with the mean, one too many."""
        model = encoder_model()
        generator = np.random.default_rng(0)
        left, right = (np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))[0] for _ in range(2))
        values = np.where(np.arange(HIDDEN) < 15, 1.0, 1e-4)
        weight = ((left * values) @ right).astype(np.float32)
        return write_model_folder(tmp_path / "strong", with_weights(model, {"layer.0/query.weight": weight}))

    def test_a_weight_is_left_as_it_is(self, optimize: Callable[..., Path], strong: Path) -> None:
        out = optimize(strong, "--method", "squeeze", "--noise", "median")
        query = read_json(out / "report.json")["sites"][0]
        assert (query["treatment"], query["rank"]) == ("dense", None)
        assert query["reason"].endswith("rank 16 is above break-even (15)")
        before, after = initializers(strong), initializers(out)
        np.testing.assert_array_equal(after["layer.0/query.weight"], before["layer.0/query.weight"])

    def test_a_weight_is_denoised_if_asked(self, optimize: Callable[..., Path], strong: Path) -> None:
        out = optimize(strong, "--method", "squeeze", "--noise", "median", "--above-break-even", "denoise")
        report = read_json(out / "report.json")
        query = report["sites"][0]
        assert (query["treatment"], query["rank"]) == ("denoised", None)
        assert read_json(out / "plan.json")["sites"][0]["rank"] == 16
        before, after = initializers(strong)["layer.0/query.weight"], initializers(out)["layer.0/query/weight"]
        assert np.linalg.matrix_rank(after, tol=1e-5) <= 16 < np.linalg.matrix_rank(before, tol=1e-5)
        np.testing.assert_allclose(after, before, atol=1e-3)


class TestPlan:
    def test_applied_again_gives_the_same_bytes(
        self, run_cli: RunCli, half: tuple[Path, str], model: Path, tmp_path: Path
    ) -> None:
        out, _ = half
        done = run_cli("optimize", model, "-o", tmp_path / "again", "--plan", out / "plan.json")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "again" / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()
        assert read_json(tmp_path / "again" / "plan.json") == read_json(out / "plan.json")

    def test_edited_changes_what_was_edited(
        self, optimize: Callable[..., Path], half: tuple[Path, str], model: Path, tmp_path: Path
    ) -> None:
        plan = read_json(half[0] / "plan.json")
        plan["sites"][1]["rank"] = 3
        plan["sites"][2]["rank"] = None
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        before, after = initializers(half[0]), initializers(optimize(model, "--plan", tmp_path / "plan.json"))
        assert after["layer.0/key/left"].shape == (HIDDEN, 3)
        np.testing.assert_allclose(after["layer.0/key/left"], before["layer.0/key/left"][:, :3], atol=1e-6)
        np.testing.assert_array_equal(after["layer.0/value.weight"], initializers(model)["layer.0/value.weight"])
        edited = ("layer.0/key/", "layer.0/value")
        assert {name for name in before if not name.startswith(edited)} == {
            name for name in after if not name.startswith(edited)
        }
        for name in before:
            if not name.startswith(edited):
                np.testing.assert_array_equal(after[name], before[name], err_msg=name)

    def test_makes_heads_thinner(
        self, run_cli: RunCli, optimize: Callable[..., Path], half: tuple[Path, str], work: Path, tmp_path: Path
    ) -> None:
        plan = read_json(half[0] / "plan.json")
        for site in plan["sites"]:
            site["rank"] = None
        for query_or_key in plan["sites"][:2]:
            query_or_key["kept_shape"] = [HIDDEN, HIDDEN // 2]
        (tmp_path / "plan.json").write_text(json.dumps(plan | {"method": "whiten"}), encoding="utf-8")
        out = optimize(work / "model", "--plan", tmp_path / "plan.json", "--calibration", work / "text")
        assert {site["treatment"] for site in read_json(out / "report.json")["sites"][:2]} == {"sliced"}
        assert 0 < np.abs(outputs(out) - outputs(work / "model")).max() < 1
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        done = run_cli("optimize", work / "model", "-o", tmp_path / "out", "--plan", tmp_path / "plan.json")
        assert done.returncode == 2
        assert "only float weights lose columns, and by a method that looks at activations" in done.stderr.replace(
            "\n", " "
        )

    def test_lets_query_key_and_value_share_a_left_factor(
        self, run_cli: RunCli, optimize: Callable[..., Path], half: tuple[Path, str], work: Path, tmp_path: Path
    ) -> None:
        plan = read_json(half[0] / "plan.json")
        for site in plan["sites"]:
            site["rank"] = None
        for site in plan["sites"][:3]:
            site |= {"rank": 20, "shares_left": "layer.0/query", "sensitivity": 0.5}
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        out = optimize(work / "model", "--plan", tmp_path / "plan.json")
        assert read_json(out / "plan.json") == plan
        arrays = initializers(out)
        assert {name: arrays[name].shape for name in arrays if name.startswith(("layer.0/query/", "layer.0/key/"))} == {
            "layer.0/query/left": (HIDDEN, 20),
            "layer.0/query/right": (20, HIDDEN),
            "layer.0/key/right": (20, HIDDEN),
        }
        report = read_json(out / "report.json")
        assert [site["kept_parameters"] for site in report["sites"][:3]] == [40 * HIDDEN, 20 * HIDDEN, 20 * HIDDEN]
        size = report["size"]
        assert (
            size["baseline_parameters"] - size["optimized_parameters"]
            == size["eligible_parameters"] - size["kept_eligible_parameters"]
        )
        assert 0 < np.abs(outputs(out) - outputs(work / "model")).max() < 1
        plan["sites"][1]["rank"] = 19
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        done = run_cli("optimize", work / "model", "-o", tmp_path / "out", "--plan", tmp_path / "plan.json")
        assert done.returncode == 2
        assert "site layer.0/key rank 19 and layer.0/query rank 20, but they share" in done.stderr.replace("\n", " ")
        assert not (tmp_path / "out").exists()

    def test_of_full_rank_changes_nothing(
        self, optimize: Callable[..., Path], half: tuple[Path, str], model: Path, tmp_path: Path
    ) -> None:
        plan = read_json(half[0] / "plan.json")
        for site in plan["sites"]:
            site["rank"] = min(site["shape"])
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        out = optimize(model, "--plan", tmp_path / "plan.json")
        assert {site["treatment"] for site in read_json(out / "report.json")["sites"]} == {"denoised"}
        np.testing.assert_allclose(outputs(out), outputs(model), atol=1e-5)


class TestCalibration:
    def test_makes_auto_look_at_activations_and_the_same_seed_writes_the_same_bytes(
        self, run_cli: RunCli, optimize: Callable[..., Path], work: Path, tmp_path: Path
    ) -> None:
        options = ("--calibration", work / "text", "--calibration-rows", "3", "--keep", "0.5")
        out = optimize(work / "model", *options, "--seed", "1")
        assert read_json(out / "report.json")["method"] == "whiten"
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
        assert read_json(out / "report.json")["method"] == "whiten"
        again = optimize(model, "--calibration", "glue:SST-2", "--data", tmp_path)
        assert (again / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()

    def test_takes_inputs_as_arrays(self, optimize: Callable[..., Path], model: Path, tmp_path: Path) -> None:
        inputs: dict[str, Any] = dict(batch())
        np.savez(tmp_path / "inputs.npz", **inputs)
        report = read_json(optimize(model, "--calibration", tmp_path / "inputs.npz") / "report.json")
        assert report["method"] == "whiten"


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


def test_a_fused_model_answers_as_the_portable_one_and_the_report_counts_its_operators(
    run_cli: RunCli, work: Path, half: tuple[Path, str]
) -> None:
    portable, _ = half
    options = ("--method", "svd", "--keep", "0.5", "--fuse", "cuda")
    done = run_cli("optimize", work / "model", "-o", work / "fused", *options)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_allclose(outputs(work / "fused"), outputs(portable), rtol=0, atol=1e-5)
    operators = [node.op_type for node in onnx.load(work / "fused" / "model.onnx").graph.node]
    assert operators.count("MultiHeadAttention") == LAYERS
    assert "Softmax" not in operators
    assert read_json(work / "fused" / "report.json")["fused"] == {
        "Attention": {"dense": LAYERS, "squeezed": LAYERS},
        "EmbedLayerNormalization": {"dense": 0, "squeezed": 0},
        "SkipLayerNormalization": {"dense": 2 * LAYERS, "squeezed": 2 * LAYERS},
        "Gelu": {"dense": LAYERS, "squeezed": LAYERS},
    }
    assert "Fused operators" in done.stdout
    assert "Fused operators" in (work / "fused" / "report.html").read_text(encoding="utf-8")
    assert read_json(portable / "report.json")["fused"] is None


@pytest.mark.parametrize("storage", [(), ("--external-data",)], ids=["one file", "weights beside it"])
def test_a_dense_attention_is_packed_wherever_the_weights_go(
    optimize: Callable[..., Path], model: Path, storage: tuple[str, ...]
) -> None:
    options = ("--method", "svd", "--keep", "0.5", *(f"--exclude={role}" for role in ("query", "key", "value")))
    fused = optimize(model, *options, "--fuse", "cpu", *storage)
    packed = [node.op_type for node in onnx.load(fused / "model.onnx", load_external_data=False).graph.node]
    assert packed.count("Attention") == LAYERS
    assert (fused / "model.onnx.data").exists() == bool(storage)
    np.testing.assert_allclose(outputs(fused), outputs(optimize(model, *options)), rtol=0, atol=1e-5)


def test_a_provider_that_nothing_is_fused_for_is_refused(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    done = call_cli("optimize", model, "-o", tmp_path / "out", "--fuse", "gpu")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--fuse is one of cpu, cuda; got 'gpu'" in done.stderr
