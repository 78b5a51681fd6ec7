"""The second worked example of docs/extending.md, which shows this file."""

import json
from pathlib import Path

import numpy as np
import pytest

from docs.examples.lanczos import Lanczos
from squeeze_onnx.spectral.decompositions import Exact
from squeeze_onnx.spectral.decompositions.settings import DECOMPOSITIONS
from tests.conftest import RunCli
from tests.tiny_encoder import write_model_folder

MATRIX = np.random.default_rng(0).standard_normal((12, 20))


@pytest.mark.parametrize("rank", [1, 5, 12])
def test_finds_what_an_exact_decomposition_does(rank: int) -> None:
    found, exact = (each.decompose(MATRIX, rank) for each in (Lanczos(), Exact()))
    np.testing.assert_allclose(found.singular_values, exact.singular_values, rtol=1e-9)
    np.testing.assert_allclose(found.factors(rank).product(), exact.factors(rank).product(), atol=1e-9)
    assert found.spectral_error_bound >= exact.spectral_error_bound - 1e-9


def test_the_command_line_takes_its_name(call_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECOMPOSITIONS, "lanczos", lambda settings: Lanczos(settings.seed))
    model, out = write_model_folder(tmp_path / "model"), tmp_path / "out"
    done = call_cli("optimize", model, "-o", out, "--method", "svd", "--keep", 0.5, "--decomposition", "lanczos")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert {site["decomposition"]["found_by"] for site in report["sites"] if site["rank"]} == {"lanczos"}
