import dataclasses
import os
import signal
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from squeeze_onnx.evaluate.bench_config import DEFAULT_SHAPES, BenchConfig
from squeeze_onnx.evaluate.benchmark import Benchmark, bench
from squeeze_onnx.evaluate.speedup import Speedup
from squeeze_onnx.runtime.latency import Latency
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.runtime.timing_process import TimingProcess
from squeeze_onnx.support.errors import MachineError, ModelError, OptionError, ProviderError
from tests.tiny_encoder import VOCABULARY, encoder_model, write_model_folder

QUICK = BenchConfig(batch_sizes=(2,), sequence_lengths=(5, 7), threads=1, rounds=2, repeats=1, warm_up=0, memory=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


def latency(milliseconds: float, spread: float = 0.0) -> Latency:
    noise = spread * np.random.default_rng(int(milliseconds)).standard_normal((20, 3))
    return Latency(milliseconds + noise)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (latency(5, 0.5), "faster"),
        (latency(20, 0.5), "slower"),
        (latency(10, 0.5), "no difference within noise"),
        (Latency(np.repeat([[5.0], [12.0]], 10, axis=0)), "no difference within noise"),
    ],
)
def test_a_winner_is_named_only_outside_the_noise(candidate: Latency, verdict: str) -> None:
    assert Speedup.over([(latency(10, 0.5), candidate)], seed=0).verdict == verdict


def test_the_mean_over_shapes_is_geometric() -> None:
    speedup = Speedup.over([(latency(8), latency(1)), (latency(2), latency(4))], seed=0)
    assert speedup.ratio == pytest.approx(2.0)
    assert (speedup.interval.low, speedup.interval.high) == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize(
    ("batch_sizes", "lengths", "shapes"),
    [
        ((), (), DEFAULT_SHAPES),
        ((4,), (), ((4, 128),)),
        ((), (16, 64), ((1, 16), (1, 64))),
        ((1, 8), (16, 64), tuple(product((1, 8), (16, 64)))),
    ],
)
def test_shapes_are_the_default_ones_or_a_grid(
    batch_sizes: tuple[int, ...], lengths: tuple[int, ...], shapes: tuple[tuple[int, int], ...]
) -> None:
    assert BenchConfig(batch_sizes=batch_sizes, sequence_lengths=lengths).shapes == shapes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_sizes": (1, 0)}, "`batch_size` is a positive integer; got 0"),
        ({"sequence_lengths": (-3,)}, "`sequence_length` is a positive integer; got -3"),
        ({"rounds": 0}, "`rounds` is a positive integer; got 0"),
        ({"against": ("int4",)}, "`against` is one of int8, fused, openvino; got 'int4'"),
        ({"cuda_graph": True}, "`cuda_graph` needs `provider` cuda"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        BenchConfig(**wrong)  # type: ignore[arg-type]


def test_the_report_holds_every_model_on_every_shape(model: Path) -> None:
    report = bench([model, model], QUICK).to_json()
    assert [entry["name"] for entry in report["models"]] == [str(model)] * 2
    assert [(shape["batch_size"], shape["sequence_length"]) for shape in report["shapes"]] == [(2, 5), (2, 7)]
    for shape in report["shapes"]:
        baseline, candidate = shape["models"]
        assert (baseline["speedup"], baseline["speedup_interval"]) == (1.0, [1.0, 1.0])
        assert candidate["speedup"] == pytest.approx(baseline["p50_ms"] / candidate["p50_ms"])
    assert report["models"][0]["bytes"] == (model / "model.onnx").stat().st_size
    assert report["settings"]["threads"] == 1


def test_opponents_come_after_the_models_and_are_smaller_if_int8(model: Path) -> None:
    found = bench([model], BenchConfig(**{**vars(QUICK), "against": ("int8", "fused")}))
    assert [each.name for each in found.models] == [str(model), f"{model}, int8", f"{model}, fused"]
    dense, int8, _ = (each.size.bytes for each in found.models)
    assert int8 < dense
    assert not any(each.path.exists() for each in found.models[1:])


def test_all_models_read_the_same_tokens_which_all_of_them_know(
    model: Path, tmp_path: Path, bound: list[Feeds]
) -> None:
    bench([model, write_model_folder(tmp_path / "twin")], QUICK)
    for first, second in (bound[:2], bound[2:]):
        assert first.keys() == second.keys() == {"input_ids", "attention_mask"}
        np.testing.assert_array_equal(first["input_ids"], second["input_ids"])
        assert 0 <= first["input_ids"].min() <= first["input_ids"].max() < VOCABULARY
        assert first["attention_mask"].all()


def test_each_model_has_a_process_that_is_gone_afterwards(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []
    turn = TimingProcess.turn

    def look(process: TimingProcess, repeats: int) -> Sequence[float]:
        turns.append(process.number)
        return turn(process, repeats)

    monkeypatch.setattr(TimingProcess, "turn", look)
    report = bench([model, model, model], QUICK).to_json()
    first, second, third = dict.fromkeys(turns)
    once = [first, second, third, second, third, first]  # two rounds; the second begins one model later
    assert turns == once * len(QUICK.shapes)
    for number in (first, second, third):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
    assert report["settings"]["processes"] == "one for each model"
    assert [entry["runtime"]["name"] for entry in report["models"]] == ["onnxruntime"] * 3
    assert report["models"][0]["runtime"]["version"] == onnxruntime.__version__


def test_a_model_whose_process_dies_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = write_model_folder(tmp_path / "twin")
    turn = TimingProcess.turn

    def die(process: TimingProcess, repeats: int) -> Sequence[float]:
        os.kill(process.number, signal.SIGKILL)
        return turn(process, repeats)

    monkeypatch.setattr(TimingProcess, "turn", die)
    with pytest.raises(MachineError, match=rf"the process that times {model} was ended by SIGKILL"):
        bench([model, twin], QUICK)


def test_a_model_that_does_not_open_is_named(model: Path, tmp_path: Path) -> None:
    proto = encoder_model()
    proto.graph.node[0].domain = "no.such.domain"
    proto.opset_import.append(onnx.helper.make_opsetid("no.such.domain", 1))
    broken = write_model_folder(tmp_path / "broken", proto)
    config = dataclasses.replace(QUICK, against=("int8",))
    with pytest.raises(ModelError, match=r"onnxruntime cannot open .*broken/model\.onnx on cpu"):
        bench([model, broken], config)


def test_an_input_that_text_does_not_determine_is_refused_with_its_name(tmp_path: Path) -> None:
    proto = encoder_model()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["batch", 3]))
    with pytest.raises(ModelError, match="has an input 'pixels'; a text model is fed input_ids"):
        bench([write_model_folder(tmp_path / "model", proto)], QUICK)


def test_a_sequence_longer_than_the_positions_is_refused(tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path / "model", max_position_embeddings=6)
    with pytest.raises(OptionError, match=r"`sequence_length` 7 is more than the 6 positions of .*model\.onnx"):
        bench([folder], QUICK)


def test_no_model_is_refused() -> None:
    with pytest.raises(OptionError, match="one model or more"):
        bench([])


def test_cuda_where_there_is_none_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules,
        "onnxruntime",
        SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"]),
    )
    with pytest.raises(ProviderError, match="no CUDAExecutionProvider"):
        bench(["absent.onnx"], BenchConfig(provider="cuda"))


def test_speedups_are_against_the_first_model() -> None:
    latencies = ((latency(10), latency(5)), (latency(10), latency(20)))
    found = Benchmark(BenchConfig(), (), latencies, (), ())
    assert found.speedup(1, 0).ratio == pytest.approx(2.0)
    assert found.speedup(1, 1).ratio == pytest.approx(0.5)
    assert found.speedup(1, 0, 1).ratio == pytest.approx(1.0)
