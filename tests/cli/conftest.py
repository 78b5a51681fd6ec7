from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import SENTENCES, encoder_model, write_model_folder


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
