"""The same input, options and seed give the same bytes of model.onnx, and other numbers of threads nearly the same factors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.cli.optimized import initializers
from tests.tiny_encoder import WORDS, encoder_model, write_model_folder
from tests.tiny_models import value

METHODS = {
    "svd": ["--method", "svd", "--keep", "0.5"],
    "squeeze": ["--method", "squeeze", "--keep", "0.5"],
    "whiten": ["--method", "whiten", "--keep", "0.5", "--calibration", "text"],  # refits
}
RUN_ALL = """
import json, sys
from squeeze_onnx.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["squeeze-onnx", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


def run_all(work: Path, commands: list[list[str]], **environment: str) -> None:
    """Call ``squeeze-onnx`` several times in one new process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(commands)],
        cwd=work,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def one_product(weight: np.ndarray) -> onnx.ModelProto:
    rows, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"], name="linear")],
        "one_product",
        [value("x", ["b", rows])],
        [value("y", ["b", columns])],
        [numpy_helper.from_array(weight, "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two processes have squeezed one model by every method, into ``1/NAME`` and ``2/NAME``."""
    folder = tmp_path_factory.mktemp("determinism")
    write_model_folder(folder / "model", encoder_model(classifier=True))
    (folder / "text").write_text("\n".join(f"the {first} was {second}" for first in WORDS[:8] for second in WORDS[:4]))
    for turn in ("1", "2"):
        commands = [["optimize", "model", "-o", f"{turn}/{name}", *options] for name, options in METHODS.items()]
        run_all(folder, commands, PYTHONHASHSEED=turn, OPENBLAS_NUM_THREADS="1")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_write_the_same_bytes(work: Path, method: str) -> None:
    first, second = (work / turn / method for turn in ("1", "2"))
    assert (first / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()
    assert (first / "plan.json").read_bytes() == (second / "plan.json").read_bytes()


def test_more_threads_choose_the_same_ranks_and_nearly_the_same_factors(tmp_path: Path) -> None:
    """With matrices large enough for OpenBLAS to share them among threads."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((200, 8)) @ rng.standard_normal((8, 300)) + rng.standard_normal((200, 300))
    onnx.save(one_product(weight.astype(np.float32)), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", x=rng.standard_normal((500, 200)).astype(np.float32))
    options = {**METHODS, "whiten": [*METHODS["whiten"][:-1], "rows.npz"]}
    for threads in ("1", "2"):
        commands = [
            ["optimize", "model.onnx", "-o", f"{threads}/{name}", "--include", "classifier", *words]
            for name, words in options.items()
        ]
        run_all(tmp_path, commands, OPENBLAS_NUM_THREADS=threads)
    for name in options:
        plans = [json.loads((tmp_path / turn / name / "plan.json").read_text()) for turn in ("1", "2")]
        assert [site["rank"] for site in plans[0]["sites"]] == [site["rank"] for site in plans[1]["sites"]]
        one, two = (initializers(tmp_path / turn / name) for turn in ("1", "2"))
        assert one.keys() == two.keys()
        assert len(one) == 2
        for key, factor in one.items():
            assert np.linalg.norm(two[key] - factor) <= 1e-5 * np.linalg.norm(factor)
