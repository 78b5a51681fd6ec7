"""What MatMuls take on this machine: measured once, interpolated, never falling with size."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.runtime import matmul_latency
from squeeze_onnx.runtime.matmul_latency import Lower, MatMulLatency, Setting, measure_matmuls
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import DataError

SETTING = Setting(batch_size=1, sequence_length=4, threads=1)


def as_it_is(graph: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    return graph


TIMES = {(8, 8): 40.0, (8, 4): 30.0, (8, 2): 10.0, (4, 8): 20.0, (2, 8): 25.0}


class TestLookingUp:
    def test_it_grows_evenly_between_what_was_measured(self) -> None:
        assert MatMulLatency(TIMES).into(8, np.array([2, 3, 4, 8])).tolist() == [10, 20, 30, 40]

    def test_nothing_takes_longer_than_what_is_larger(self) -> None:
        """(2, 8) was measured as slower than (4, 8): noise, so both take as long."""
        assert MatMulLatency(TIMES).out_of(np.array([2, 4, 8]), 8).tolist() == [25, 25, 40]

    def test_less_than_the_smallest_takes_as_long(self) -> None:
        assert MatMulLatency(TIMES).into(8, np.array([1])).tolist() == [10]


class TestMeasuring:
    @pytest.fixture
    def timed(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        """Take a nanosecond a parameter, and remember what was asked for."""
        seen: list[tuple[int, int]] = []

        def measure(shape: tuple[int, int], setting: Setting, lower: Lower, seed: int) -> float:
            seen.append(shape)
            return float(shape[0] * shape[1])

        monkeypatch.setattr(matmul_latency, "_measure", measure)
        return seen

    def test_times_the_weight_and_what_is_smaller_in_one_direction(
        self, timed: list[tuple[int, int]], tmp_path: Path
    ) -> None:
        found = measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        assert sorted(timed) == [(16, 64), (32, 16), (32, 32), (32, 48), (32, 64)]
        assert found.into(32, np.array([40])).tolist() == [32 * 40]

    def test_a_second_time_only_the_weights_themselves(self, timed: list[tuple[int, int]], tmp_path: Path) -> None:
        measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        timed.clear()
        measure_matmuls([(32, 64), (32, 64)], SETTING, as_it_is, tmp_path)
        assert timed == [(32, 64)]

    def test_what_was_kept_is_scaled_to_what_the_machine_does_now(
        self, timed: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        monkeypatch.setattr(matmul_latency, "_measure", lambda shape, setting, lower, seed: 2.0 * shape[0] * shape[1])
        found = measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        assert found.into(32, np.array([16, 64])).tolist() == [2 * 32 * 16, 2 * 32 * 64]

    def test_another_setting_is_measured_anew(self, timed: list[tuple[int, int]], tmp_path: Path) -> None:
        measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        measure_matmuls([(32, 64)], Setting(batch_size=2, sequence_length=4, threads=1), as_it_is, tmp_path)
        assert len(list(tmp_path.iterdir())) == 2

    def test_on_this_machine_time_passes(self, tmp_path: Path) -> None:
        found = measure_matmuls([(32, 32)], SETTING, as_it_is, tmp_path)
        assert (found.into(32, np.array([16, 32])) > 0).all()
        [path] = tmp_path.iterdir()
        assert json.loads(path.read_text())["setting"]["sequence_length"] == 4

    def test_a_damaged_file_is_named(self, timed: list[tuple[int, int]], tmp_path: Path) -> None:
        measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
        [path] = tmp_path.iterdir()
        path.write_text("{}")
        with pytest.raises(DataError, match=f"{path.name} is not what .* delete it"):
            measure_matmuls([(32, 64)], SETTING, as_it_is, tmp_path)
