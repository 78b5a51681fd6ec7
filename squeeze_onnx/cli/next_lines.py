"""The last line of a command: what to do next, ready to be pasted. It is left out where nothing is known to succeed."""

import mmap
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tokenizer_files import has_tokenizer, tokenizer_place
from squeeze_onnx.evaluate.span_head import span_head
from squeeze_onnx.graph.io.outline import parse_outline
from squeeze_onnx.runtime.sessions import ValueSpec
from squeeze_onnx.support.given_names import given_name

READING = ("tokenizer", "max_tokens", "pooling", "prompt", "answer")
"""Options that say how texts become tokens and tokens an embedding: what was said once holds for the next command."""

_OPTION = {"max_tokens": "--max-length"}


def after_analysis(model: Path, *taken_as: str) -> str:
    """Return a first `optimize`; ``taken_as`` are options that say what the model is taken as."""
    return command("optimize", as_given(model), "-o", beside(model, "small"), "--keep", "0.75", *taken_as)


def after_optimization(model: Path, out: Path, options: Mapping[str, Any], *asked: str) -> str:
    """Return what holds the result in ``out`` against ``model``: its score, or its speed where there is no tokenizer."""
    unread = options.get("tokenizer") is None and not _reads_text(model)
    if unread or (_answers_by_span(model) and "--data" not in asked):
        return command("bench", as_given(model), str(out))
    return command("validate", as_given(model), str(out), *asked, *_reading(options))


def after_validation(candidate: Path, options: Mapping[str, Any]) -> str | None:
    """Return how to package a model that passed; None for one whose bundle could not answer a text."""
    data = options.get("data")
    saved = data is not None and str(data).endswith(".npz")
    if not saved and not (options.get("tokenizer") or _reads_text(candidate)):
        return None
    asked = EmbeddingOptions(*(options.get(name) for name in ("pooling", "prompt", "answer")))
    if read_settings(find_repository(candidate).model_path, asked).answers_by_token:
        return None
    read = ["--data", str(data)] if saved else _reading(options)
    return command("package", as_given(candidate), "-o", beside(candidate, "bundle"), *read)


def after_verification(bundle: Path, where: Path, asked: Sequence[str]) -> str:
    """Return how to ask the bundle that lies unpacked in the folder ``where`` what is ``asked``, or how to unpack it."""
    if not where.is_dir():
        return command("verify", str(bundle), "--unpack", beside(bundle, "unpacked"))
    return f"Next: {shlex.join(['python', str(where / 'run.py'), *asked])}"


def after_bench(models: Sequence[Path]) -> str | None:
    """Return how to score what was timed, or how to make something that can be; None for models that nothing can ask."""
    first, *others = models
    if not others:
        return after_analysis(first)
    if not any(map(_reads_text, (first, others[0]))) or _answers_by_span(first):
        return None
    return command("validate", as_given(first), as_given(others[0]))


def as_given(model: Path) -> str:
    """Return ``model`` as it was given: a path, or a name on a hub."""
    return given_name(model) or str(model)


def beside(model: Path, suffix: str) -> str:
    """Return a place that is free beside ``model``, or here for one from a hub: its name with ``suffix``."""
    name = given_name(model)
    if name is not None:
        place = Path(name.partition("@")[0].rstrip("/").removesuffix(".onnx").rpartition("/")[2])
    else:
        place = model.with_suffix("") if model.is_file() else model
    free = place.with_name(f"{place.absolute().name}-{suffix}")
    number = 2
    while free.exists():
        free, number = place.with_name(f"{place.absolute().name}-{suffix}-{number}"), number + 1
    return str(free)


def command(name: str, *words: str) -> str:
    """Return a line that a shell takes."""
    return f"Next: {shlex.join(['squeeze-onnx', name, *words])}"


def _reads_text(model: Path) -> bool:
    return has_tokenizer(tokenizer_place(find_repository(model)))


def _answers_by_span(model: Path) -> bool:
    """Whether texts alone cannot ask ``model``: it takes a question and its context."""
    path = find_repository(model).model_path
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        outputs = parse_outline(content, path.name).graph.output
    shapes = [(value.name, tuple(value.type.tensor_type.shape.dim)) for value in outputs]
    return span_head([ValueSpec(name, "", shape) for name, shape in shapes]) is not None


def _reading(options: Mapping[str, Any]) -> list[str]:
    return [
        word
        for name in READING
        if options.get(name) is not None
        for word in (_OPTION.get(name, f"--{name}"), str(options[name]))
    ]
