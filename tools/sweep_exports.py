"""Exports for `tools.sweep`: the architectures of `tests.architectures`, and some with encoder and decoder, or with past keys.

TorchScript exports from opset 11 on, dynamo exports, and all `VARIANTS` of them. `further_exports` builds them once, in a process
of its own (``python -m tools.sweep_exports CACHE FOLDER``), and keeps them. What an exporter or a tool cannot do is left out, and
`NOT_MADE` says why.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from tests.architectures import (
    ARCHITECTURES,
    EXPORTERS,
    HEADS,
    HIDDEN,
    OPSET,
    PACKAGES,
    VOCABULARY,
    Architecture,
    built_once,
    exported_models,
)
from tools.sweep_variants import VARIANTS

# Count up when what is built changes.
FORMAT = 1
NOT_MADE = "not_made.json"
"""In the folder of all exports: name → why an exporter or a tool did not make it."""

OLD_OPSETS = range(11, OPSET)
_FUSED_ATTENTION = 14
"""The first opset that torch's own attention can be exported to."""

_SEQUENCES = {
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
ENCODER_DECODERS = {
    "bart": Architecture(
        "BartForConditionalGeneration",
        "BartConfig",
        "text2text-generation-with-past",
        {
            **_SEQUENCES,
            "d_model": HIDDEN,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": HEADS,
            "decoder_attention_heads": HEADS,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 40,
            "forced_eos_token_id": None,
        },
    ),
    "t5": Architecture(
        "T5ForConditionalGeneration",
        "T5Config",
        "text2text-generation-with-past",
        {**_SEQUENCES, "d_model": HIDDEN, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": HEADS},
    ),
}
WITH_PAST = {
    f"{name}-past": replace(
        ARCHITECTURES[name],
        task="text-generation-with-past",
        sizes={key: value for key, value in ARCHITECTURES[name].sizes.items() if key != "use_cache"},
    )
    for name in ("gpt2", "llama")
}


class _Exports:
    """Writes to ``folder``/<architecture>/<export>.onnx, and keeps in mind what was not made."""

    def __init__(self, folder: Path) -> None:
        self.not_made: dict[str, str] = {}
        self._folder = folder

    def make(self, architecture: str, export: str, make: Callable[[Path], None]) -> None:
        """Let ``make`` write the file, unless it is there; if it cannot, there is none."""
        target = self._folder / architecture / f"{export}.onnx"
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            return
        try:
            make(target)
        except Exception as error:  # noqa: BLE001 - exporters and tools raise anything
            target.unlink(missing_ok=True)
            said = " ".join(str(error).split())[:300]
            self.not_made[f"{architecture}-{export}"] = f"{type(error).__name__}: {said}"

    def vary(self, architecture: str) -> None:
        """Make every variant of what is there of ``architecture``."""
        for name, (source, tool) in VARIANTS.items():
            path = self._folder / architecture / f"{source}.onnx"
            if path.exists():
                self.make(architecture, name, partial(tool, path))


def _script(architecture: Architecture, opset: int, target: Path) -> None:
    """Export by optimum: to ``target``, or, if there are several parts, to its name with that of the part."""
    from optimum.exporters.onnx import onnx_export_from_model

    if opset < _FUSED_ATTENTION:
        architecture = replace(architecture, sizes={**architecture.sizes, "attn_implementation": "eager"})
    with tempfile.TemporaryDirectory() as exported:
        onnx_export_from_model(
            architecture.create(), Path(exported), task=architecture.task, do_validation=False, opset=opset
        )
        for path in sorted(Path(exported).glob("*.onnx")):
            part = "" if path.stem == "model" else f"_{path.stem}"
            path.rename(target.with_name(f"{target.stem}{part}.onnx"))


def _dynamo(architecture: Architecture, target: Path) -> None:
    EXPORTERS["dynamo"](architecture, target.parent)


def build(cache: Path, folder: Path) -> None:
    """Write all exports to ``folder``, but for those that are there."""
    exports = _Exports(folder)
    known = exported_models(cache)
    for name, architecture in ARCHITECTURES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path in (known / name).glob("*.onnx"):
            (folder / name / path.name).write_bytes(path.read_bytes())
        for opset in OLD_OPSETS:
            exports.make(name, f"script_opset{opset}", partial(_script, architecture, opset))
        exports.make(name, "dynamo", partial(_dynamo, architecture))
        exports.vary(name)
        click.echo(name, err=True)
    for name, architecture in {**ENCODER_DECODERS, **WITH_PAST}.items():
        exports.make(name, "opset14", partial(_script, architecture, _FUSED_ATTENTION))
        exports.make(name, "script", partial(_script, architecture, OPSET))
        for path in sorted((folder / name).glob("script*.onnx")):
            part = folder / f"{name}-{path.stem}"
            part.mkdir(exist_ok=True)
            path.rename(part / "optimum.onnx")
            exports.vary(part.name)
        click.echo(name, err=True)
    (folder / NOT_MADE).write_text(json.dumps(exports.not_made, indent=1) + "\n", encoding="utf-8")


def further_exports(cache: Path) -> Path:
    """Return the folder of all exports, built on first use for each set of package versions."""
    versions = "\n".join(f"{package} {_version(package)}" for package in (*PACKAGES, "onnxsim"))
    return built_once(cache, f"sweep-{FORMAT}", versions, "tools.sweep_exports", cache)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
