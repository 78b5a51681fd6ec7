"""Small random models of many architectures, as the exporters that people use write them.

`build` runs in a process of its own (``python -m tests.architectures FOLDER``): torch and the exporters' warnings stay out
of the process under test. `exported_models` runs it once and keeps the result in the cache.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.building import building

REPOSITORY = Path(__file__).parents[1]
# Count up when what is built changes, so that nobody tests against an old cache.
FORMAT = 1
PACKAGES = ("torch", "transformers", "optimum-onnx", "onnx", "onnxscript", "onnxruntime")

VOCABULARY = 99
HIDDEN = 32
HEADS = 4
OPSET = 18


@dataclass(frozen=True)
class Architecture:
    """A class of transformers and the small config it is made with.

    inputs: names of the inputs of a dynamo export; the optimum export chooses its own.
    """

    model: str
    config: str
    task: str
    sizes: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")

    def create(self) -> Any:
        """Return the model, with random weights large enough for outputs to differ between inputs."""
        import torch
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, self.model)(getattr(transformers, self.config)(**self.sizes)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0, 0.2)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model


_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
_SPECIAL_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
_WITH_SEGMENTS = ("input_ids", "attention_mask", "token_type_ids")
_CLASSIFY, _GENERATE = "text-classification", "text-generation"

ARCHITECTURES = {
    "bert": Architecture("BertForSequenceClassification", "BertConfig", _CLASSIFY, _SIZES, _WITH_SEGMENTS),
    "distilbert": Architecture(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        _CLASSIFY,
        {"vocab_size": VOCABULARY, "dim": HIDDEN, "n_layers": 2, "n_heads": HEADS, "hidden_dim": 64},
    ),
    "roberta": Architecture("RobertaForSequenceClassification", "RobertaConfig", _CLASSIFY, _SIZES),
    "mpnet": Architecture("MPNetModel", "MPNetConfig", "feature-extraction", _SIZES),
    "albert": Architecture(
        "AlbertForSequenceClassification",
        "AlbertConfig",
        _CLASSIFY,
        {**_SIZES, "embedding_size": 16},
        _WITH_SEGMENTS,
    ),
    "electra": Architecture(
        "ElectraForSequenceClassification",
        "ElectraConfig",
        _CLASSIFY,
        {**_SIZES, "embedding_size": 16},
        _WITH_SEGMENTS,
    ),
    "gpt2": Architecture(
        "GPT2LMHeadModel",
        "GPT2Config",
        _GENERATE,
        {
            "vocab_size": VOCABULARY,
            "n_positions": 40,
            "n_embd": HIDDEN,
            "n_layer": 2,
            "n_head": HEADS,
            "use_cache": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "llama": Architecture(
        "LlamaForCausalLM", "LlamaConfig", _GENERATE, {**_SIZES, "num_key_value_heads": 2, "use_cache": False}
    ),
    "deberta": Architecture(
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        _CLASSIFY,
        {
            **_SIZES,
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": Architecture(
        "ModernBertForSequenceClassification", "ModernBertConfig", _CLASSIFY, {**_SIZES, **_SPECIAL_TOKENS}
    ),
    "phi": Architecture("PhiForCausalLM", "PhiConfig", _GENERATE, {**_SIZES, "use_cache": False}),
}


def _export_optimum(architecture: Architecture, folder: Path) -> None:
    """optimum-cli export onnx, without the command line: TorchScript, then optimum's own post-processing."""
    from optimum.exporters.onnx import onnx_export_from_model

    with tempfile.TemporaryDirectory() as exported:
        onnx_export_from_model(
            architecture.create(), Path(exported), task=architecture.task, do_validation=False, opset=OPSET
        )
        (Path(exported) / "model.onnx").rename(folder / "optimum.onnx")


def _export_dynamo(architecture: Architecture, path: Path, opset: int) -> None:
    import torch

    tokens = torch.randint(5, VOCABULARY, (2, 7))
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    torch.onnx.export(
        architecture.create(),
        (),
        str(path),
        kwargs={name: tokens if name == "input_ids" else torch.ones_like(tokens) for name in architecture.inputs},
        dynamic_shapes={name: {0: batch, 1: sequence} for name in architecture.inputs},
        dynamo=True,
        opset_version=opset,
        external_data=False,
        verbose=False,
    )


def _fuse(source: Path, target: Path, level: int) -> None:
    """python -m onnxruntime.transformers.optimizer --opt_level LEVEL."""
    from onnxruntime.transformers import optimizer

    kind = "gpt2" if source.parent.name in {"gpt2", "llama"} else "bert"
    fused = optimizer.optimize_model(
        str(source), model_type=kind, num_heads=HEADS, hidden_size=HIDDEN, opt_level=level, only_onnxruntime=False
    )
    fused.save_model_to_file(str(target))


def _optimize_offline(source: Path, target: Path) -> None:
    """What onnxruntime itself makes of the graph, saved."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One level below the highest, which adds layouts for the processor at hand.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _to_float16(source: Path, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def _quantize_dynamically(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, weight_type=QuantType.QInt8)


def _quantize_with_qdq(source: Path, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class OneBatch(CalibrationDataReader):  # type: ignore[misc]
        batches = iter([padded_batch(source)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    quantize_static(source, target, OneBatch())


# Exporter → how <folder>/<exporter>.onnx is made. Those after the first two start from an export before them.
EXPORTERS: dict[str, Callable[[Architecture, Path], None]] = {
    "optimum": _export_optimum,
    "dynamo": lambda architecture, folder: _export_dynamo(architecture, folder / "dynamo.onnx", OPSET),
    "dynamo_opset23": lambda architecture, folder: _export_dynamo(architecture, folder / "dynamo_opset23.onnx", 23),
    "fused_level0": lambda _, folder: _fuse(folder / "optimum.onnx", folder / "fused_level0.onnx", 0),
    "fused_level1": lambda _, folder: _fuse(folder / "optimum.onnx", folder / "fused_level1.onnx", 1),
    "fused_level2": lambda _, folder: _fuse(folder / "optimum.onnx", folder / "fused_level2.onnx", 2),
    "dynamo_fused": lambda _, folder: _fuse(folder / "dynamo.onnx", folder / "dynamo_fused.onnx", 1),
    "offline": lambda _, folder: _optimize_offline(folder / "optimum.onnx", folder / "offline.onnx"),
    "float16": lambda _, folder: _to_float16(folder / "optimum.onnx", folder / "float16.onnx"),
    "int8": lambda _, folder: _quantize_dynamically(folder / "optimum.onnx", folder / "int8.onnx"),
    "qdq": lambda _, folder: _quantize_with_qdq(folder / "optimum.onnx", folder / "qdq.onnx"),
}

_THREE_WAYS = ("optimum", "dynamo", "fused_level1")
EXPORTS: dict[str, tuple[str, ...]] = {
    "bert": tuple(EXPORTERS),
    "distilbert": _THREE_WAYS,
    "roberta": (*_THREE_WAYS, "dynamo_fused"),
    "mpnet": (*_THREE_WAYS, "dynamo_fused"),
    "albert": _THREE_WAYS,
    "electra": _THREE_WAYS,
    "gpt2": _THREE_WAYS,
    # Not dynamo_opset23: torch 2.13 writes a RotaryEmbedding that onnxruntime 1.31 runs for batches of 1 only.
    "llama": (*_THREE_WAYS, "fused_level0", "fused_level2", "offline"),
    # What the others do not have: relative positions in the scores, packed gates, attention beside the FFN.
    "deberta": ("optimum",),
    "modernbert": ("optimum",),
    "phi": ("optimum",),
}


def build(folder: Path) -> None:
    """Write every export to ``folder``/<architecture>/<exporter>.onnx. Takes under two minutes of processor time."""
    for name, exporters in EXPORTS.items():
        (folder / name).mkdir(parents=True)
        for exporter, export in EXPORTERS.items():
            if exporter in exporters:
                export(ARCHITECTURES[name], folder / name)


def exported_models(cache: Path) -> Path:
    """Return the folder of all exports, built on first use for each set of package versions."""
    versions = "\n".join(f"{package} {version(package)}" for package in PACKAGES)
    return built_once(cache, f"architectures-{FORMAT}", versions, "tests.architectures")


def built_once(cache: Path, name: str, versions: str, module: str, *arguments: Path) -> Path:
    """Return the folder in ``cache`` that ``python -m module arguments FOLDER`` makes, on first use for these ``versions``."""
    folder = cache / f"{name}-{sha256(versions.encode()).hexdigest()[:12]}"
    with building(cache, name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as unfinished:
                staged = Path(unfinished) / "exports"
                subprocess.run(
                    [sys.executable, "-m", module, *arguments, staged],
                    cwd=REPOSITORY,
                    check=True,
                    env={**os.environ, "PYTHONWARNINGS": "ignore"},
                    stdout=subprocess.DEVNULL,
                )
                staged.rename(folder)
    return folder


def padded_batch(path: Path) -> dict[str, np.ndarray]:
    """Return inputs for the model at ``path``: three sequences of 9, 5 and 3 tokens, padded to 9."""
    rng = np.random.default_rng(0)
    mask = (np.arange(9) < np.array([[9], [5], [3]])).astype(np.int64)
    values = {
        "input_ids": rng.integers(5, VOCABULARY, mask.shape),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 2, mask.shape),
        "position_ids": np.maximum(mask.cumsum(axis=1) - 1, 0),
    }
    inputs = onnx.load(path, load_external_data=False).graph.input
    return {
        value.name: values[value.name].astype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in inputs
    }


if __name__ == "__main__":
    build(Path(sys.argv[1]))
