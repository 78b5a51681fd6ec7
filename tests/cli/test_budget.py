"""``optimize --keep`` and what it may be spent on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.optimized import initializers, read_json
from tests.tiny_encoder import (
    ELIGIBLE_SITES,
    HIDDEN,
    INTERMEDIATE,
    LAYERS,
    encoder_model,
    outputs,
    with_weights,
    write_model_folder,
)


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


class TestRankRule:
    @pytest.mark.parametrize(
        "rule", ["tracy-widom", "hard-threshold", "shrinkage", "energy=0.6", "stable-rank", "effective-rank", "fixed=3"]
    )
    def test_cuts_each_weight_on_its_own(self, optimize: Callable[..., Path], work: Path, rule: str) -> None:
        out = optimize(work / "model", "--method", "svd", "--rank-rule", rule, "--above-break-even", "denoise")
        plan = read_json(out / "plan.json")
        assert plan["budget"]["rank_rule"] == rule
        assert all(site["rank"] is None or site["reason"] for site in plan["sites"])
        if rule == "fixed=3":
            assert {site["rank"] for site in plan["sites"]} == {3}

    def test_stands_for_the_paper_s_method_by_itself(self, optimize: Callable[..., Path], work: Path) -> None:
        assert read_json(optimize(work / "model", "--rank-rule", "fixed=2") / "plan.json")["method"] == "squeeze"


class TestDecomposition:
    @pytest.mark.parametrize(
        "options",
        [("exact",), ("rsvd",), ("rsi",), ("rsi", "--power-iterations", "3"), ("rsi", "--tolerance", "0.1"), ("auto",)],
        ids=" ".join,
    )
    def test_is_what_was_asked_for_and_its_error_is_told(
        self, optimize: Callable[..., Path], work: Path, options: tuple[str, ...]
    ) -> None:
        out = optimize(work / "model", "--method", "svd", "--keep", "0.3", "--decomposition", *options)
        found = [site["decomposition"] for site in read_json(out / "report.json")["sites"] if site["rank"]]
        # A sketch as wide as a tiny matrix is the exact answer, and is called so.
        assert {each["found_by"] for each in found} <= {"exact", options[0]} - {"auto"} | {"exact"}
        assert all(0 < each["relative_error_bound"] < 3 and each["failure_probability"] < 1e-3 for each in found)
        assert np.isfinite(outputs(out)).all()
