"""The first worked example of docs/extending.md, which shows this file."""

import json
from pathlib import Path

import numpy as np
import pytest

from docs.examples.input_magnitude import ASVD, InputMagnitude
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.weightings import Identity, Weighting
from tests.conftest import RunCli
from tests.tiny_encoder import ELIGIBLE_SITES, SENTENCES, write_model_folder

WEIGHT = np.random.default_rng(0).standard_normal((12, 8))


def truncated(weighting: Weighting, rank: int) -> np.ndarray:
    seen = weighting.apply(WEIGHT)
    return seen.factors(Exact().decompose(seen.matrix, rank), rank).product()


def test_what_meets_large_inputs_is_kept_best() -> None:
    magnitudes = np.where(np.arange(12) < 3, 100, 1)
    inputs = np.random.default_rng(1).standard_normal((200, 12)) * magnitudes
    weighting = InputMagnitude(SecondMoment(inputs.T @ inputs, len(inputs)), power=1)
    plain, weighted = (np.linalg.norm(inputs @ (WEIGHT - truncated(each, 3))) for each in (Identity(), weighting))
    assert weighted < 0.1 * plain


def test_power_0_is_the_plain_svd() -> None:
    weighting = InputMagnitude(SecondMoment(np.diag(np.arange(1.0, 13)), tokens=1), power=0)
    np.testing.assert_allclose(truncated(weighting, 3), truncated(Identity(), 3), atol=1e-12)


def test_the_command_line_takes_its_name(call_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "asvd", ASVD)
    model, text, out = write_model_folder(tmp_path / "model"), tmp_path / "text", tmp_path / "out"
    text.write_text("\n".join(SENTENCES), encoding="utf-8")
    done = call_cli("optimize", model, "-o", out, "--method", "asvd", "--keep", 0.5, "--calibration", text)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    factored = [site["name"] for site in report["sites"] if site["treatment"] == "factored"]
    assert (report["method"], factored) == ("asvd", list(ELIGIBLE_SITES))
