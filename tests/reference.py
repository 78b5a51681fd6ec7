"""Real trained models for tests, as folders that optimum exported; built on first use and kept between runs.

Building goes through ``tools/reference_models.py`` in a process of its own: torch stays out of the process under test,
and the exporters' warnings do not become errors here.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import building

REPOSITORY = Path(__file__).parents[1]


def minilm_l6(model_cache: Path) -> Path:
    """all-MiniLM-L6-v2, a sentence encoder: 6 layers, 384/1536, one output ``last_hidden_state``."""
    return reference_model("minilm-l6", model_cache)


def mpnet_base(model_cache: Path) -> Path:
    """all-mpnet-base-v2, a sentence encoder of the BERT-base shapes: 12 layers, 768/3072."""
    return reference_model("mpnet-base", model_cache)


def classifier(base: str, task: str, model_cache: Path) -> Path:
    """A base fine-tuned on a GLUE task, e.g. ``classifier("minilm-l6", "MRPC", model_cache)``; output ``logits``.

    Skips the test when SQUEEZE_LORA does not name the folder of LoRA files.
    """
    if not os.environ.get("SQUEEZE_LORA"):
        pytest.skip("SQUEEZE_LORA is not set: point it at the folder of LoRA files (minilm-l6/MRPC.safetensors …)")
    return reference_model(f"{base}-{task}", model_cache)


def reference_model(name: str, model_cache: Path) -> Path:
    """The ONNX folder of a reference model, built if the cache lacks it."""
    with building(model_cache, name):
        done = subprocess.run(
            [sys.executable, REPOSITORY / "tools" / "reference_models.py", name],
            env={**os.environ, "SQUEEZE_CACHE": str(model_cache)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        pytest.fail(f"The reference model {name} could not be built:\n{done.stderr}", pytrace=False)
    _, folder = done.stdout.splitlines()[-1].split("\t")
    return Path(folder) / "onnx"
