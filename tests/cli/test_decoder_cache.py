"""A decoder whose cache of keys and values becomes smaller, through the command line, and what runs it afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.optimized import read_json
from tests.conftest import RunCli
from tests.tiny_decoder import GROUPS, HEADS, HIDDEN, LAYERS, VOCABULARY, WIDTH, Decoding, decoder, write_decoder
from tests.tiny_encoder import SENTENCES, WORDS

TEXTS = (*SENTENCES, *(f"{first} {second} {first}" for first in WORDS[:6] for second in WORDS[6:12]))
IDS = np.random.default_rng(0).integers(4, VOCABULARY, (2, 9))
BUDGET = ("--method", "whiten", "--keep", "0.8")
BYTES = 2 * LAYERS * GROUPS * WIDTH * 4


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder")
    write_decoder(folder / "model", decoder(rotary=False, repeat="gather"))
    (folder / "text").write_text("\n".join(TEXTS), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def thin(run_cli: RunCli, work: Path) -> Path:
    options = ("--calibration", work / "text", *BUDGET, "--keep-cache", "0.75")
    done = run_cli("optimize", work / "model", "-o", work / "thin", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Cache of keys and values: {BYTES} B → {BYTES // 2} B a token, heads of 8 → 4" in done.stdout
    return work / "thin"


def test_inputs_outputs_and_files_follow(thin: Path) -> None:
    assert read_json(thin / "report.json")["cache"] == {
        "bytes_per_token": {"before": BYTES, "after": BYTES // 2},
        "head_sizes": {"before": [WIDTH], "after": [WIDTH // 2]},
        "files": ["config.json", "genai_config.json"],
    }
    config = read_json(thin / "config.json")
    assert config["hidden_size"] // config["num_attention_heads"] == config["head_dim"] == WIDTH // 2
    assert config["squeeze_onnx"] == {"head_dim": WIDTH, "hidden_size": HIDDEN}
    assert config["num_attention_heads"] == HEADS
    assert read_json(thin / "genai_config.json")["model"]["decoder"]["head_size"] == WIDTH // 2


def test_analysis_says_what_the_cache_takes(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    done = call_cli("analyze", work / "model", "--json", tmp_path / "found.json")
    assert read_json(tmp_path / "found.json")["cache"] == {"bytes_per_token": BYTES, "head_sizes": [WIDTH]}
    assert f"Cache of keys and values: {BYTES} B a token, heads of {WIDTH}" in done.stdout


def test_it_decodes_step_by_step_what_it_says_at_once(work: Path, thin: Path) -> None:
    at_once = Decoding(thin / "model.onnx").logits(IDS, 9)
    np.testing.assert_allclose(Decoding(thin / "model.onnx").logits(IDS, 5, 3, 1), at_once, atol=1e-5)
    dense = Decoding(work / "model" / "model.onnx").logits(IDS, 9)
    assert np.square(at_once - dense).sum() < 0.5 * np.square(dense - dense.mean(axis=(0, 1))).sum()


def test_it_is_validated_and_packaged(call_cli: RunCli, work: Path, thin: Path, tmp_path: Path) -> None:
    done = call_cli("validate", work / "model", thin, "--data", work / "text", "--json", tmp_path / "found.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert read_json(tmp_path / "found.json")["head"] == "token_logits"
    assert call_cli("package", thin, "-o", tmp_path / "bundle").returncode == 0
    asked = subprocess.run(
        [sys.executable, tmp_path / "bundle" / "run.py", SENTENCES[0]], capture_output=True, text=True, check=True
    )
    assert len(json.loads(asked.stdout)) == len(SENTENCES[0].split()) + 2


def test_heads_stay_whole_where_some_have_to(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    """Whoever runs a decoder takes one size of a head for keys and values of all layers."""
    options = ("--calibration", work / "text", *BUDGET, "--exclude", "value")
    done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    cache = read_json(tmp_path / "out" / "report.json")["cache"]
    assert cache["bytes_per_token"]["after"] == BYTES
    assert (
        "The heads of keys and values stay 8 wide: those of past_key_values.0.value, the first of 2 such,"
        in " ".join(done.stdout.split())
    )
    done = call_cli("optimize", work / "model", "-o", tmp_path / "less", *options, "--keep-cache", "0.5")
    assert done.returncode == 2
    assert "--keep-cache 0.5 cannot be had: those of past_key_values.0.value" in done.stderr
    assert not (tmp_path / "less").exists()


def test_keep_cache_is_refused_where_nothing_weighs_heads(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    done = call_cli("optimize", work / "model", "-o", tmp_path / "out", "--method", "svd", "--keep-cache", "0.5")
    assert done.returncode == 2
    assert "takes dimensions out of heads" in done.stderr
