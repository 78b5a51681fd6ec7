"""What is written is what is measured: a fault between the two shows in the report."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.precision import PRECISIONS, Evidence, measured
from squeeze_onnx.compress.precision.base import Encoder, Lowered
from squeeze_onnx.compress.precision.measured import lower_measured
from squeeze_onnx.compress.precision.stored_bytes import StoredBytes, floats
from squeeze_onnx.compress.precision.tables import ColumnTable
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.quantized.few_bits import store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.runtime.sessions import Session, SessionSettings, open_session
from tests.compress.precision.tiny import batches, block, factored_table

EVIDENCE = Evidence(batches(8))


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine compute as one with VNNI does."""

    def open_precisely(path: Path, provider: str, settings: SessionSettings, label: str | None = None) -> Session:
        return open_session(path, provider, replace(settings, precise_integers=True), label=label)

    monkeypatch.setattr("squeeze_onnx.runtime.graph_session.open_session", open_precisely)
    monkeypatch.setattr(measured, "int8_products_saturate", lambda: False)


@pytest.mark.parametrize("name", ["fp16", "int8", "int8-static", "int8-int4", "int4"])
@pytest.mark.usefixtures("precise")
def test_outputs_move_about_as_far_as_predicted(name: str) -> None:
    lowered = lower_measured(PRECISIONS[name](), block(), EVIDENCE)
    assert lowered.measured is not None
    assert lowered.measured < (0.05 if name == "int4" else 0.02)
    if lowered.predicted is not None:
        assert lowered.measured < 4 * lowered.predicted
        assert lowered.to_json()["damage"] == lowered.measured
        assert lowered.to_json()["predicted_damage"] == lowered.predicted


def test_fp32_and_no_data_are_not_measured() -> None:
    assert lower_measured(PRECISIONS["fp32"](), block(), EVIDENCE).measured is None
    assert lower_measured(PRECISIONS["int8"](), block(), Evidence()).measured is None


@pytest.mark.usefixtures("precise")
def test_what_a_plan_keeps_is_measured_too() -> None:
    lowered = lower_measured(PRECISIONS["int8"](), block(), Evidence(batches(), kept=("head",)))
    assert lowered.predicted is None
    assert lowered.measured is not None


@pytest.mark.usefixtures("precise")
def test_one_text_is_measured_against_its_own_size() -> None:
    lone = Evidence(tuple(type(each)({"ids": each.feeds["ids"][:1]}, None) for each in batches(1)))
    lowered = lower_measured(PRECISIONS["int8"](), block(), lone)
    assert lowered.measured is not None
    assert 0 < lowered.measured < 0.05


class TestAFaultInWhatIsWritten:
    """The prediction does not see it: only the model that is written does."""

    def test_in_the_integers_of_a_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def store(self: ColumnTable, inserter: Inserter, site: MatMulSite) -> None:
            store_int8_table(inserter, site, np.roll(self.columns.integers, 1, axis=1), self.columns.scales)

        monkeypatch.setattr(ColumnTable, "store", store)
        lowered = lower_measured(PRECISIONS["int8"](), factored_table(8), EVIDENCE)
        assert lowered.predicted is not None
        assert lowered.measured is not None
        assert lowered.predicted < 0.02
        assert lowered.measured > 0.5


def test_outputs_that_become_nan_are_told() -> None:
    class Broken:
        name: ClassVar[str] = "int8"
        weights_apart: ClassVar[bool] = True
        providers: ClassVar[tuple[str, ...]] = ("cpu",)
        rounds_rows: ClassVar[bool] = True
        table_step: ClassVar[int] = 1
        stored: ClassVar[StoredBytes] = StoredBytes(floats(1), floats(1))

        def encoders(self, model: ir.Model, evidence: Evidence) -> dict[str, Encoder]:
            return {}

        def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
            return Lowered(block(head=np.full((4, 48), np.nan)))

    lowered = lower_measured(Broken(), block(), EVIDENCE)
    assert lowered.measured is None
    assert "become NaN or infinite" in lowered.notes[-1]


def test_outputs_that_were_not_finite_before_are_told() -> None:
    lowered = lower_measured(PRECISIONS["int8"](), block(bias=np.full(4, np.inf)), Evidence(batches(), kept=()))
    assert lowered.measured is None
    assert "are NaN or infinite" in lowered.notes[-1]


def test_saturation_is_told_where_it_is_noticeable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As large as weights and rows may be, pairs of products do not fit in 16 bits."""
    monkeypatch.setattr(measured, "int8_products_saturate", lambda: True)
    moved = iter([0.3, 0.01])
    monkeypatch.setattr(measured, "share_moved", lambda *_: next(moved))
    lowered = lower_measured(PRECISIONS["int8"](), block(), EVIDENCE)
    assert lowered.measured == 0.3
    assert "has no VNNI" in lowered.notes[-1]
    assert "0.3 of their variance, on one that has it by 0.01" in lowered.notes[-1]
