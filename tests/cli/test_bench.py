import json
from pathlib import Path

import pytest

from squeeze_onnx.runtime import rivals
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import write_model_folder

QUICK = ("--batch-size", "2", "--sequence-length", "5", "--rounds", "2", "--threads", "1")


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    return write_model_folder(tmp_path / "first"), write_model_folder(tmp_path / "second")


def test_models_and_opponents_stand_in_one_table_with_the_settings(run_cli: RunCli, models: tuple[Path, Path]) -> None:
    before = [snapshot(model) for model in models]
    done = run_cli("bench", *models, "--against", "int8", "--against", "fused", *QUICK, "--verbose")
    assert (done.returncode, done.stderr) == (0, "")
    latencies = done.stdout.partition("Latency in ms")[2]
    for name in (models[0], models[1], f"{models[0]}, int8", f"{models[0]}, fused"):
        assert f"{name} " in latencies
    assert "2 × 5" in latencies
    assert latencies.count("baseline") == 1
    assert "cpu, threads: 1, optimization level all, IO binding, 2 rounds of 3 runs in turns" in done.stdout
    assert "CPUExecutionProvider: no options" in done.stdout
    assert [snapshot(model) for model in models] == before


def test_opponents_may_stand_in_one_option(call_cli: RunCli, models: tuple[Path, Path]) -> None:
    done = call_cli("bench", models[0], "--against", "int8,fused", *QUICK, "--no-memory", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    names = [model["name"] for model in json.loads(done.stdout)["models"]]
    assert names == [str(models[0]), f"{models[0]}, int8", f"{models[0]}, fused"]


def test_an_opponent_that_is_not_installed_ends_with_what_installs_it(
    call_cli: RunCli, models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    done = call_cli("bench", models[0], "--against", "openvino", *QUICK)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().endswith("pip install 'squeeze-onnx[openvino]'")
    assert done.stderr.count("\n") == 1


def test_json_on_standard_output_is_all_there_is(run_cli: RunCli, models: tuple[Path, Path]) -> None:
    done = run_cli("bench", models[0], *QUICK, "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    [model] = report["models"]
    assert model["peak_memory_bytes"] > 0
    assert model["mean"] == {"speedup": 1.0, "speedup_interval": [1.0, 1.0], "verdict": "no difference within noise"}


def test_json_goes_to_a_file_and_memory_can_be_left_out(
    run_cli: RunCli, models: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run_cli("bench", *models, *QUICK, "--no-memory", "--quiet", "--json", tmp_path / "bench.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    report = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert [model["peak_memory_bytes"] for model in report["models"]] == [None, None]


def test_a_report_does_not_replace_a_model(run_cli: RunCli, models: tuple[Path, Path]) -> None:
    done = run_cli("bench", *models, "--json", models[1] / "model.onnx")
    assert done.returncode == 2
    assert "belongs to the model" in done.stderr


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--batch-size", "0"), "--batch-size is a positive integer"),
        (("--against", "int4"), "--against is one of int8, fused, openvino"),
        (("--provider", "tpu"), "--provider is one of cpu, cuda"),
        (("--threads", "0"), "--threads is a positive integer"),
        (("--cuda-graph",), "--cuda-graph needs --provider cuda"),
    ],
)
def test_a_wrong_option_is_status_2_and_one_sentence(
    call_cli: RunCli, models: tuple[Path, Path], options: tuple[str, ...], fault: str
) -> None:
    done = call_cli("bench", models[0], *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert fault in done.stderr
    assert done.stderr.count("\n") == 1
