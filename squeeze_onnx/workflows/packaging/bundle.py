"""Package: a model's folder → a bundle for a device, complete and checked."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from squeeze_onnx.data.batches import FeedBuilder
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository, repository_of
from squeeze_onnx.data.tokenizer_files import has_tokenizer, tokenizer_place
from squeeze_onnx.data.vocabulary import encoder_of
from squeeze_onnx.evaluate.answer_heads import TokenVectors
from squeeze_onnx.evaluate.output_rows import declared_outputs
from squeeze_onnx.evaluate.span_head import SpanLogits
from squeeze_onnx.graph.io.locate import MODEL_FILE
from squeeze_onnx.graph.io.model import OnnxModel, load_model, refuse_overwriting_input
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.runtime.ort_format import operators_config, required_operators, write_ort
from squeeze_onnx.runtime.sessions import open_session
from squeeze_onnx.support.environment import environment
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.given_names import called
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_file, staged_folder
from squeeze_onnx.support.typed_fields import check_fields
from squeeze_onnx.workflows.packaging import saved_example
from squeeze_onnx.workflows.packaging.archive import is_archive, write_archive
from squeeze_onnx.workflows.packaging.compression import compress, reading_script
from squeeze_onnx.workflows.packaging.manifest import FileEntry, Manifest
from squeeze_onnx.workflows.packaging.measured import read_measured
from squeeze_onnx.workflows.packaging.reading import copy_companions, described, write_tokenizer
from squeeze_onnx.workflows.packaging.smoke_test import Answer, ask, ask_saved, example, longest_sequence
from squeeze_onnx.workflows.packaging.verification import Bundle

Target = Literal["edge"]
Form = Literal["both", "onnx", "ort"]
Compress = Literal["none", "zstd"]

ONNX, ORT = "model.onnx", "model.ort"
CONFIG = "required_operators.config"


@made_by_name
@dataclass(frozen=True)
class PackageConfig:
    """What goes into a bundle.

    target: what it is for: edge.
    form: which files of the model: onnx, ort (ONNX Runtime's own), or both.
    compress: none, or zstd: the files of the model are entropy-coded, which run.py and `verify` undo in memory.
    licence: that of the source model; None reads it from the model card (README.md) beside the model, where there is one.
    measured: JSON reports of `optimize`, `validate` and `bench` on this very model.
    tokenizer: a tokenizer.json or a folder with one, instead of that beside the model.
    data: an .npz of inputs of a model that reads other than text; its first row becomes the example of the bundle.
    pooling: how token embeddings become one where no file beside the model says it.
    prompt: what stands before every text.
    answer: the output that is the answer, where a model has several; None to find it by names and shapes.
    max_tokens: what sequences are cut to; None for what the files of sentence-transformers say, or else the positions, up to 512.
    """

    target: Target = "edge"
    form: Form = "onnx"
    compress: Compress = "none"
    licence: str | None = None
    measured: tuple[Path, ...] = ()
    tokenizer: Path | None = None
    data: Path | None = None
    pooling: str | None = None
    prompt: str | None = None
    answer: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for option, value, known in (
            ("target", self.target, Target),
            ("form", self.form, Form),
            ("compress", self.compress, Compress),
        ):
            if value not in get_args(known):
                raise OptionError(f"`{option}` is one of {', '.join(get_args(known))}; got {value!r}")
        asked = {name: getattr(self, name) for name in ("tokenizer", "pooling", "prompt", "answer", "max_tokens")}
        for option in (name for name, value in asked.items() if value is not None and self.data is not None):
            raise OptionError(
                f"`{option}` is for text, and {self.data} holds inputs of another kind: leave one of them out"
            )
        EmbeddingOptions(self.pooling, self.prompt, self.answer)


def package(path: str | Path, out: str | Path, config: PackageConfig | None = None, *, force: bool = False) -> Bundle:
    """Write the model at ``path`` with all it needs to ``out``: an archive if that ends in .zip, else a folder.

    It appears whole or not at all; equal input and packages give equal bytes. Every form of the model has answered a
    question, alike, before anything appears. Raises a SqueezeError subclass for what is wrong with model, tokenizer, options or
    output.
    """
    config = config or PackageConfig()
    out = Path(out)
    repository = find_repository(path)
    model = load_model(repository.model_path)
    refuse_overwriting_input(model, out)
    with (
        _staged(out, force=force) as folder,
        called(str(model.path), folder / MODEL_FILE),
        called(str(repository.root), folder, address=str(repository.root)),
    ):
        if config.compress != "none" and model.data_files:
            raise OptionError(
                f"`compress` is for models in one file, which are read into memory whole, and the weights of {model.path} lie "
                "beside it: leave it out"
            )
        models = _copy_model(model, folder, config.form)
        copy_companions(repository, folder)
        read, answers = (_reads_text if config.data is None else _reads_saved_inputs)(model, folder, models, config)
        contents = _compressed(folder, models) if config.compress == "zstd" else {}
        document = {
            "target": config.target,
            "made_by": environment()["packages"],
            "models": list(contents) or models,
            **({"contents": {name: vars(entry) for name, entry in contents.items()}} if contents else {}),
            "model": _described(model),
            **read,
            "licence": config.licence or _licence_of_card(repository.root),
            "measured": _measured(model, config.measured),
        }
        manifest = Manifest.describing(folder, document)
        manifest.write(folder)
        return Bundle.of(out, folder, manifest, answers)


def _reads_text(
    model: OnnxModel, folder: Path, models: Sequence[str], config: PackageConfig
) -> tuple[dict[str, Any], tuple[Answer, ...]]:
    """Put into ``folder`` what reads a text; return what the manifest says of it, and what the models answer to one."""
    asked = EmbeddingOptions(config.pooling, config.prompt, config.answer)
    settings = read_settings(model.path, asked)
    usual = longest_sequence(settings, declared_outputs(model.ir))
    longest = usual if config.max_tokens is None else config.max_tokens
    if config.tokenizer is None and not has_tokenizer(tokenizer_place(repository_of(model.path))):
        FeedBuilder.for_session(open_session(model.path))  # a model that reads other than text lacks no tokenizer
    encoder = encoder_of(model, settings, config.tokenizer, max_tokens=longest)
    write_tokenizer(encoder, folder / "tokenizer.json")
    answers = ask(folder, models, asked)
    head = answers[0].head
    assert head is not None, "a text is read by one"
    if isinstance(head, TokenVectors):
        raise OptionError(
            f"{model.path} gives a vector a token, and run.py answers a text with one: `pooling` says how they become one"
        )
    template = "run_spans.py.txt" if isinstance(head, SpanLogits) else "run.py.txt"
    (folder / "run.py").write_bytes((files("squeeze_onnx.workflows.packaging") / "templates" / template).read_bytes())
    text = {
        **described(head, encoder, _labels(settings.labels, answers[0])),
        "asked": {
            "pooling": asked.pooling,
            "prompt": asked.prompt,
            **({} if asked.answer is None else {"answer": asked.answer}),
        },
        "first_position": settings.first_position,
        "example": example(head),
    }
    return {"text": text}, answers


def _reads_saved_inputs(
    model: OnnxModel, folder: Path, models: Sequence[str], config: PackageConfig
) -> tuple[dict[str, Any], tuple[Answer, ...]]:
    """Put into ``folder`` an example of the inputs; return what the manifest says of them, and what the models answer to it."""
    assert config.data is not None, "asked by whoever chose"
    inputs = saved_example.write_example(config.data, model.path, folder)
    (folder / "run.py").write_bytes(saved_example.script())
    answers = ask_saved(folder, models, saved_example.EXAMPLE)
    return {"inputs": inputs}, answers


def _compressed(folder: Path, models: Sequence[str]) -> dict[str, FileEntry]:
    """Compress ``models`` in ``folder``, let its run.py read them so, and return what is in each file."""
    script = folder / "run.py"
    script.write_text(reading_script(script.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    return compress(folder, models)


@contextmanager
def _staged(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty folder to fill, which becomes the folder or the archive ``out`` if the block succeeds."""
    if not is_archive(out):
        with staged_folder(out, force=force) as folder:
            yield folder
        return
    with (
        reserved(out),
        staged_file(out, force=force) as partial,
        TemporaryDirectory(dir=partial.parent, prefix=f".{out.name}.partial-") as folder_name,
    ):
        with called(str(out), Path(folder_name), address=str(out)):
            yield Path(folder_name)
        write_archive(Path(folder_name), partial)


def _copy_model(model: OnnxModel, folder: Path, form: Form) -> list[str]:
    """Put the model into ``folder``; return the names of its forms, the one that is quickest to open first."""
    models = []
    if form != "onnx":
        write_ort(model.path, folder / ORT)
        (folder / CONFIG).write_text(operators_config(required_operators(folder / ORT)), encoding="utf-8", newline="\n")
        models.append(ORT)
    if form != "ort":
        shutil.copyfile(model.path, folder / ONNX)
        for file in model.data_files:
            target = folder / file.relative_to(model.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        models.append(ONNX)
    return models


def _described(model: OnnxModel) -> dict[str, Any]:
    graphs = (model.ir.graph, *model.ir.graph.subgraphs())
    operators = sorted({(node.domain or "ai.onnx", node.op_type) for graph in graphs for node in graph})
    domains = sorted({domain for domain, _ in operators})
    size = measure_size(model)
    return {
        "opset": {domain or "ai.onnx": version for domain, version in sorted(model.ir.graph.opset_imports.items())},
        "operators": {domain: [name for found, name in operators if found == domain] for domain in domains},
        "parameters": size.parameters,
        "bytes": size.bytes,
        "sha256": dict(size.sha256),
    }


def _labels(names: tuple[str, ...], answer: Answer) -> tuple[str, ...]:
    """Return the class names of a classifier, by number where its config.json has none."""
    return names or tuple(str(number) for number in range(answer.values.shape[1]))


def _licence_of_card(folder: Path) -> str | None:
    """Return the licence that the front matter of a model card names."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front_matter = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    named = re.search(r"^license:[ \t]*(\S+)", front_matter[1], re.MULTILINE) if front_matter else None
    return named[1] if named else None


def _measured(model: OnnxModel, reports: tuple[Path, ...]) -> dict[str, Any]:
    digests = measure_size(model).sha256.values()
    return dict(read_measured(path, digests) for path in reports)
