"""The last line of a command: what to do next, ready to be pasted. It is left out where nothing is known to succeed."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from squeeze_onnx.cli.first_options import declared_values, first_options, roles_to_take
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.tokenizer_files import has_tokenizer, tokenizer_place
from squeeze_onnx.support.given_names import given_name

READING = ("tokenizer", "max_tokens", "pooling", "prompt", "answer")
"""Options that say how texts become tokens and tokens an embedding: what was said once holds for the next command."""

_OPTION = {"max_tokens": "--max-length"}


def after_analysis(model: Path, report: Mapping[str, Any], *said: str) -> str | None:
    """Return a first `optimize` with the options that were ``said``, after ``report`` was made of ``model``.

    None for one of which rank 1 would make no weight smaller.
    """
    roles = roles_to_take(
        (site["role"], site["eligible"]) for site in report["sites"] if site["eligible"] or site["break_even_rank"]
    )
    if roles is None:
        return None
    return command("optimize", as_given(model), "-o", beside(model, "small"), "--keep", "0.75", *roles, *said)


def after_optimization(
    model: Path, out: Path, options: Mapping[str, Any], *asked: str, saved: Path | None = None
) -> str | None:
    """Return what holds the result in ``out`` against ``model``: its score, or its speed where texts alone do not ask it.

    ``saved`` are inputs that were calibrated on. None for a model that takes others than tokens, without any.
    """
    values = declared_values(model, options.get("answer"))
    if not values.take_text:
        return None if saved is None else command("bench", as_given(model), str(out), "--data", str(saved))
    is_read = options.get("tokenizer") is not None or _reads_text(model)
    if not is_read or not (values.answer_texts or (values.answer_by_span and "--data" in asked)):
        return command("bench", as_given(model), str(out))
    return command("validate", as_given(model), str(out), *asked, *_reading(options))


def after_validation(candidate: Path, options: Mapping[str, Any]) -> str | None:
    """Return how to package a model that passed; None for one whose bundle could not answer a text."""
    data = options.get("data")
    saved = data is not None and str(data).endswith(".npz")
    if not saved and not (options.get("tokenizer") or _reads_text(candidate)):
        return None
    if not saved and not declared_values(candidate).take_text:
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
        taken = first_options(first)
        if taken is None:
            return None
        return command("optimize", as_given(first), "-o", beside(first, "small"), "--keep", "0.75", *taken)
    values = declared_values(first)
    if not any(map(_reads_text, (first, others[0]))) or not values.answer_texts or not values.take_text:
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


def _reading(options: Mapping[str, Any]) -> list[str]:
    return [
        word
        for name in READING
        if options.get(name) is not None
        for word in (_OPTION.get(name, f"--{name}"), str(options[name]))
    ]
