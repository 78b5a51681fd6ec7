"""What a budget is a fraction of, and what a plan leaves of it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from squeeze_onnx.compress import objectives
from squeeze_onnx.compress.allocators import PARAMETERS, Objective
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import SharedLeft, Sliced, form_of_rank
from squeeze_onnx.compress.objectives import objective_of, predicted_share, written_alike
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.runtime import matmul_latency
from squeeze_onnx.runtime.matmul_latency import STEP
from squeeze_onnx.runtime.sessions import Session, open_session
from tests.tiny_encoder import write_model_folder


@dataclass(frozen=True)
class CallAndWork:
    """A MatMul costs 10 for the call, and 1 a parameter."""

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        return np.asarray(10 + rows * sizes)

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        return np.asarray(10 + sizes * columns)


@pytest.fixture
def model(tmp_path: Path) -> OnnxModel:
    return load_model(write_model_folder(tmp_path / "model"))


def context(model: OnnxModel, **options: Any) -> Context:
    """Return a run on the first weights of the feed-forward blocks."""
    return Context(model, OptimizeConfig(exclude=("query", "key", "value", "attention_output", "ffn_out"), **options))


def planned(name: str, rank: int | None = None) -> PlannedSite:
    return PlannedSite(name, 0, "ffn_in", (8, 12), break_even_rank=4, form=form_of_rank(rank, 4), reason="")


def share(*sites: PlannedSite, fixed: float = 0.0) -> float:
    return predicted_share(Plan("whiten", {}, sites), Objective(cost=CallAndWork(), fixed=fixed))


class TestWhatIsLeft:
    def test_a_dense_weight_costs_what_it_did(self) -> None:
        assert share(planned("a")) == 1

    def test_two_factors_are_two_calls(self) -> None:
        assert share(planned("a", rank=2)) == (10 + 8 * 2 + 10 + 2 * 12) / (10 + 8 * 12)

    def test_a_left_factor_is_called_once_by_all_that_share_it(self) -> None:
        together = [replace(planned(name), form=SharedLeft(2, "a")) for name in "ab"]
        assert share(*together) == (10 + 8 * 2 + 2 * (10 + 2 * 12)) / (2 * (10 + 8 * 12))

    @pytest.mark.parametrize(("kept", "cost"), [((8, 5), 10 + 8 * 5), ((5, 12), 10 + 5 * 12)])
    def test_a_sliced_weight_is_one_call(self, kept: tuple[int, int], cost: int) -> None:
        assert share(replace(planned("a"), form=Sliced(kept))) == cost / (10 + 8 * 12)

    def test_what_the_rest_of_the_model_takes_stays(self) -> None:
        assert share(planned("a", rank=2), fixed=94) == (94 + 10 + 8 * 2 + 10 + 2 * 12) / 200


def test_parameters_are_those_of_the_sites(model: OnnxModel) -> None:
    assert objective_of(context(model)) == PARAMETERS


def test_bytes_are_those_of_the_whole_model(model: OnnxModel) -> None:
    run = context(model, objective="size")
    objective = objective_of(run)
    eligible = sum(site.parameters for site in run.sites)
    assert (eligible + objective.fixed) * 4 == pytest.approx(measure_size(model).bytes)


def test_latency_is_that_of_the_precision(model: OnnxModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Products of integers are timed, and the dense model is quantized before it is."""
    monkeypatch.setenv("SQUEEZE_CACHE", str(tmp_path / "cache"))
    timed: list[set[str]] = []

    def measure(path: Path | bytes) -> None:
        graph = onnx.load(path) if isinstance(path, Path) else onnx.load_from_string(path)
        timed.append({node.op_type for node in graph.graph.node})

    def open_seen(opened: Path | bytes, *arguments: Any, **options: Any) -> Session:
        measure(opened)
        return open_session(opened, *arguments, **options)

    monkeypatch.setattr(matmul_latency, "open_session", open_seen)
    run = context(model, objective="latency", sequence_length=8, precision="int8")
    with written_alike(run) as path:
        measure(path)
    objective = objective_of(run)
    assert objective.fixed >= 0
    assert all("MatMulInteger" in operators for operators in timed)
    assert len(timed) > 2
    with written_alike(context(model)) as path:
        assert path == model.path


def test_latency_is_that_of_the_whole_model(model: OnnxModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each MatMul of the tiny model takes less than the whole of it."""
    monkeypatch.setenv("SQUEEZE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objectives, "measure_matmuls", lambda *_, **__: CallAndWork())
    objective = objective_of(context(model, objective="latency", sequence_length=8))
    assert objective.fixed > 0
    assert objective.rank_multiple == STEP
