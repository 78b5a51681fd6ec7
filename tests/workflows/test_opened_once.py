"""What a run derives of a model is derived once: the file is opened, sessions are made and the graph is copied no oftener."""

from collections import Counter
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.graph.io import model as model_files
from squeeze_onnx.workflows.optimize import optimize
from tests.tiny_encoder import SENTENCES, WORDS, write_model_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """Count what happens in one run of `fisher` on two layers."""
    counts: Counter[str] = Counter()
    tmp_path = tmp_path_factory.mktemp("opened")
    folder = write_model_folder(tmp_path / "model")
    clone, parse, session = ir.Model.clone, model_files._parse, onnxruntime.InferenceSession

    def copied(model: ir.Model, *arguments: Any, **options: Any) -> ir.Model:
        counts["copies"] += 1
        return clone(model, *arguments, **options)

    def parsed(path: Path) -> Any:
        counts["openings"] += path.is_relative_to(folder)
        return parse(path)

    def opened(path: str, *arguments: Any, **options: Any) -> Any:
        counts["sessions"] += 1
        options_given = arguments[0] if arguments else options["sess_options"]
        counts["sessions with one thread"] += options_given.intra_op_num_threads == 1
        counts["openings"] += Path(path).is_relative_to(folder)
        return session(path, *arguments, **options)

    (tmp_path / "text.txt").write_text("\n".join((*SENTENCES, *WORDS)), encoding="utf-8")
    config = OptimizeConfig(method="fisher", keep=0.5, simulations=1, threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ir.Model, "clone", copied)
        patch.setattr(model_files, "_parse", parsed)
        patch.setattr(onnxruntime, "InferenceSession", opened)
        optimize(folder, tmp_path / "out", config, calibration=CalibrationConfig(str(tmp_path / "text.txt")))
    return counts


def test_one_run_of_fisher(made: Counter[str]) -> None:
    """Of 15 sessions 8 are those of the refit, one for each value that weights read; 2 those of a probed layer each.

    One is on a few texts, which say how many to read.
    """
    assert made["openings"] == 1
    assert made["sessions"] <= 15
    assert made["copies"] <= 4


def test_threads_hold_for_every_session(made: Counter[str]) -> None:
    assert made["sessions with one thread"] == made["sessions"] > 0
