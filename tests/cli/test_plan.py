"""``optimize --plan``: a plan applied again, or edited."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.cli.optimized import initializers, read_json
from tests.conftest import RunCli
from tests.tiny_encoder import (
    HIDDEN,
    outputs,
)


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

    def test_with_half_of_a_pair_is_refused_before_anything_is_measured(
        self, run_cli: RunCli, half: tuple[Path, str], work: Path, tmp_path: Path
    ) -> None:
        plan = read_json(half[0] / "plan.json") | {"method": "whiten"}
        for site in plan["sites"]:
            site["rank"] = None
        plan["sites"][0]["kept_shape"] = [HIDDEN, HIDDEN // 2]
        (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        # Without text the method could not even start: the plan is what is looked at first.
        done = run_cli("optimize", work / "model", "-o", tmp_path / "out", "--plan", tmp_path / "plan.json")
        assert done.returncode == 2
        assert "has to be" in done.stderr
        assert not (tmp_path / "out").exists()

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
        written = read_json(out / "plan.json")
        assert {site["reason"] for site in written["sites"]} == {"set by hand in the plan"}
        for site in (*written["sites"], *plan["sites"]):
            del site["reason"], site["parameters"]
        assert written == plan
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
