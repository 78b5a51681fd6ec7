"""The models and texts of the matrix, and what makes its runs quick and the same on every machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from squeeze_onnx.compress import forecast, step_watch, survey
from squeeze_onnx.compress.precision import measured
from squeeze_onnx.compress.soco.learn import SocoConfig
from squeeze_onnx.runtime import graph_session
from squeeze_onnx.runtime.quantizers import quantize_int8
from squeeze_onnx.runtime.sessions import USUAL, Session, SessionSettings, open_session
from tests.cli.matrix.trained_encoder import (
    answers,
    sentences,
    token_ids,
    trained_classifier,
    trained_encoder,
    write_trained_folder,
)

MODELS = ("encoder", "classifier", "integers", "inputs")


@dataclass(frozen=True)
class Workplace:
    """A folder with `MODELS`, text to calibrate on as ``files`` by name, and what the dense models answer to ``asked``."""

    folder: Path
    files: dict[str, Path]
    asked: list[str]
    dense: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("matrix")
    shallow = trained_encoder(layers=1)
    write_trained_folder(folder / "encoder", trained_encoder())
    write_trained_folder(folder / "classifier", trained_classifier())
    write_trained_folder(folder / "inputs", _weights_as_inputs(shallow))
    write_trained_folder(folder / "float", shallow)
    write_trained_folder(folder / "integers", shallow)
    quantize_int8(folder / "float" / "model.onnx", folder / "integers" / "model.onnx")
    files = {
        "text": folder / "text",
        "table": folder / "table.jsonl",
        "tokens": folder / "tokens.npz",
        "glue": folder / "glue",
        "tokenizer": folder / "encoder" / "tokenizer.json",
    }
    files["text"].write_text("\n".join(sentences(96, seed=1)), encoding="utf-8")
    files["table"].write_text("\n".join(json.dumps({"said": text}) for text in sentences(80, seed=1)), encoding="utf-8")
    _write_tokens(files["tokens"], sentences(64, seed=3))
    _write_graded(files["glue"], folder / "encoder" / "model.onnx")
    asked = sentences(48, seed=2)
    return Workplace(folder, files, asked, {name: answers(folder / name / "model.onnx", asked) for name in MODELS})


@pytest.fixture(scope="module", autouse=True)
def quick_and_precise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Predict no other budgets, let soco learn fast, time products into a folder that goes, and let no integers saturate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "FORECAST_BUDGETS", ())
        patch.setattr(survey, "SocoConfig", partial(SocoConfig, scale_rate=0.05, growth=1.1, window=2))
        for module in (graph_session, step_watch):
            patch.setattr(module, "open_session", _open_precisely)
        patch.setattr(measured, "int8_products_saturate", lambda: False)
        patch.setenv("SQUEEZE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _open_precisely(
    path: Path, provider: str = "cpu", settings: SessionSettings = USUAL, *, label: str | None = None
) -> Session:
    """Open a model as `open_session` does on a processor with VNNI."""
    return open_session(path, provider, replace(settings, precise_integers=True), label=label)


def _weights_as_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with all weights among its inputs, as old exporters write it."""
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    open_model.graph.input.extend(
        helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        for weight in model.graph.initializer
        if weight.name.endswith(".weight")
    )
    return open_model


def _write_tokens(path: Path, texts: list[str]) -> None:
    ids = token_ids(texts)
    longest = max(map(len, ids))
    padded = np.array([np.pad(each, (0, longest - len(each))) for each in ids])
    kinds = np.zeros_like(padded)
    np.savez(path, input_ids=padded, attention_mask=(padded > 0).astype(np.int64), token_type_ids=kinds)


def _write_graded(data: Path, model: Path) -> None:
    """Write splits of STS-B whose scores are the cosines of the dense model itself."""
    (data / "STS-B").mkdir(parents=True)
    for seed, split in enumerate(("train", "dev"), start=6):
        first, second = sentences(160, seed=seed), sentences(160, seed=seed + 10)
        a, b = answers(model, first), answers(model, second)
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        rows = [f"{x}\t{y}\t{2.5 * (1 + score)!r}" for x, y, score in zip(first, second, cosines.tolist(), strict=True)]
        (data / "STS-B" / f"{split}.tsv").write_text("\n".join(["sentence1\tsentence2\tlabel", *rows]) + "\n")
