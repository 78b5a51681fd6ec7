"""Memory grows with the largest weight of a model, not with the model."""

import errno
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.graph.io.spilling import Store
from squeeze_onnx.support.errors import OutputError
from squeeze_onnx.workflows import optimize as pipeline
from squeeze_onnx.workflows.optimize import analyze, optimize
from tests.tiny_encoder import write_model_folder
from tools import bench_memory
from tools.bench_memory import Widths, write_model

WIDTHS = Widths(hidden=256, ffn=704, vocabulary=256)
LAYER_BYTES = 4 * sum(rows * columns for rows, columns in WIDTHS.layer_weights.values())
QUICK = OptimizeConfig(method="svd", keep=0.5, simulations=1)
COMMANDS: dict[str, Callable[[Path], Any]] = {
    "analyze": lambda path: analyze(path, AnalyzeConfig(simulations=1)),
    "optimize": lambda path: optimize(path, path.with_name("out"), QUICK),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_four_times_the_layers_take_no_more_memory(tmp_path: Path, command: str) -> None:
    peaks = []
    for layers in (2, 8):
        path = tmp_path / str(layers) / "model.onnx"
        path.parent.mkdir()
        write_model(path, WIDTHS, layers, random_layers=0)
        tracemalloc.start()
        COMMANDS[command](path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < LAYER_BYTES  # the factors of six more layers take three times as much


def test_a_disk_that_is_full_meanwhile_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(folder: Path) -> Iterator[Store]:
        def store(tensor: ir.Tensor[np.ndarray]) -> ir.TensorProtocol:
            raise OSError(errno.ENOSPC, "No space left on device")

        yield store

    monkeypatch.setattr(pipeline, "spill_file", full)
    folder = write_model_folder(tmp_path / "in" / "model")
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="No space left"):
        optimize(folder, tmp_path / "out" / "small", QUICK)
    assert not list((tmp_path / "out").iterdir())


def test_the_benchmark_measures_what_a_command_takes(tmp_path: Path) -> None:
    row = bench_memory.measure(WIDTHS, layers=2, random_layers=1, scratch=tmp_path)
    assert row["bytes_on_disk"] < row["bytes"]
    for command in bench_memory.COMMANDS:
        assert 2**25 < row[command]["anonymous"] < row[command]["resident"] < 2**30
    assert row["result"] == {"bytes": row["result"]["bytes"], "external": 0, "aligned": True, "finite": True}
    assert row["result"]["bytes"] < row["bytes"]
    assert not list(tmp_path.iterdir())
