"""What run.py is told of a text model: how a text is read, and how the answer is made of the graph's output."""

import shutil
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from squeeze_onnx.data.companions import POOLING_FILE, companions, licences
from squeeze_onnx.data.embedding import Embedding
from squeeze_onnx.data.repository import MODULES_FILE, Repository
from squeeze_onnx.data.stored_output import STORED_FILE
from squeeze_onnx.data.tokenization import TextEncoder
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
)
from squeeze_onnx.evaluate.asking.contexts import CANDIDATES, LONGEST_ANSWER, LONGEST_QUESTION, OVERLAP
from squeeze_onnx.evaluate.span_head import SpanLogits

_OF_THE_ENCODER = ("config.json", "tokenizer_config.json", "sentence_*_config.json", "*processor_config.json")
_OF_THE_WHOLE = (MODULES_FILE, "config_sentence_transformers.json", STORED_FILE)
_WEIGHTS_FOR_OTHERS = (".bin",)


def copy_companions(repository: Repository, folder: Path) -> None:
    """Copy into ``folder`` what the model is read by, and the licences."""
    for place in reversed(repository.folders):
        patterns = _OF_THE_ENCODER + (_OF_THE_WHOLE if place == repository.root else ())
        names = [path.name for pattern in patterns for path in sorted(place.glob(pattern)) if path.is_file()]
        for name in (*names, *licences(place)):
            shutil.copyfile(place / name, folder / name)
    modules = {module.folder for module in repository.modules[1:] if module.folder.parts}
    for file in companions(repository):
        if (file.parent in modules or file == POOLING_FILE) and file.suffix not in _WEIGHTS_FOR_OTHERS:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository.root / file, folder / file)


def described(head: Head, encoder: TextEncoder, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return what manifest.json says under ``text`` of a ``head`` that answers with classes of these names, and its tokenizer."""
    return {
        "head": head.kind,
        "output": head.output,
        "labels": list(labels) if isinstance(head, ClassLogits | LabelLogits | TokenLogits) else [],
        "prompt": _prompt(head),
        "activation": str(head.activation) if isinstance(head, ScoreHead) else None,
        "embedding": _steps(head.embedding, head) if isinstance(head, SentenceEmbedding) else None,
        **({"spans": _spans(head)} if isinstance(head, SpanLogits) else {}),
        "max_tokens": encoder.max_tokens,
        "pad_id": encoder.padding.token,
        "truncation": encoder.tokenizer.truncation["direction"],
    }


def _prompt(head: Head) -> str:
    if isinstance(head, SentenceEmbedding):
        return head.embedding.prompt
    return head.prompt if isinstance(head, ClassLogits | LabelLogits | ScoreHead) else ""


def _spans(head: SpanLogits) -> dict[str, Any]:
    """Return the outputs that say where an answer starts and ends, and how it is chosen."""
    return {
        "start": head.start,
        "end": head.end,
        "longest_question": LONGEST_QUESTION,
        "longest_answer": LONGEST_ANSWER,
        "overlap": OVERLAP,
        "candidates": CANDIDATES,
    }


def _steps(embedding: Embedding, head: SentenceEmbedding) -> dict[str, Any]:
    """Return what is done to the output: ``pooling`` is empty if the graph pools."""
    pooling = embedding.to_json()["pooling"] if isinstance(head, TokenEmbeddings) else []
    return {
        "pooling": pooling,
        "unpooled": embedding.unpooled if pooling else 0,
        "modules": [module.to_json() for module in embedding.modules],
        "dimensions": embedding.dimensions,
        "stored": None if head.stored is None else head.stored.to_json(),
    }


def write_tokenizer(encoder: TextEncoder, target: Path) -> None:
    """Write tokenizer.json as it lay there, or as it was made of other files."""
    if not encoder.changed:
        shutil.copyfile(encoder.path, target)
        return
    tokenizer = Tokenizer.from_str(encoder.tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.save(str(target))
