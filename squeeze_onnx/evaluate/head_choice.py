"""Which head a model has: from its graph outputs and its config.json, for a task or without one."""

import re
from collections.abc import Sequence
from dataclasses import replace

from squeeze_onnx.data.embedding import Activation
from squeeze_onnx.data.glue import plain
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.stored_output import STORED_FILE
from squeeze_onnx.data.tasks import Kind, Task
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    LabelLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    TokenVectors,
    WordLogits,
)
from squeeze_onnx.evaluate.span_head import SpanLogits, span_head
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.support.errors import ModelError, OptionError, RepositoryError

_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
_POOLED = ("sentence_embedding", "sentence_embeddings")
_POOLED_ELSEWHERE = re.compile(r"embed|(^|_)dense(_|$)", re.IGNORECASE)
"""What others call it: text_embeds of CLIP, dense_vecs of BGE-M3, embedding, embeddings."""

_TOKENS = ("last_hidden_state", "token_embeddings")
# The pooler of BERT is trained to tell whether two texts follow each other; its output is no sentence embedding.
_NOT_AN_EMBEDDING = ("pooler_output",)

_MOST_TOKEN_CLASSES = 1000
"""More are words of a vocabulary: the answers of a language model."""

_OTHER_NAMES = {
    "neg": "negative",
    "pos": "positive",
    "notparaphrase": "notequivalent",
    "paraphrase": "equivalent",
    "nonentailment": "notentailment",
    "nonduplicate": "notduplicate",
}
"""Plain label names seen in model configs → plain names of the data set."""


def choose_head(session: Session, config: ModelConfig, task: Task | None) -> Head:
    """Return the head to score ``task`` with, or to compare models with if ``task`` is None.

    1. An output called logits, or the two-dimensional one of a model saved for sequence classification: class logits,
       or regression if it has one column, or logits of labels if config.json says that a text has any number of them; class
       logits of every token if it has three dimensions.
    2. An output called sentence_embedding, or the only two-dimensional one whose name says embedding: pooled in the graph.
    3. A three-dimensional output: token embeddings, to be pooled outside (`ModelConfig.embedding`).
    4. A lone two-dimensional output other than the pooler's: embeddings pooled in the graph.

    Only outputs of floats count; some exporters hand the token ids through. Where an output is asked for by name, only that one,
    the pooler's too.
    An output of embeddings to be stored, which a file beside the model names, comes before all others, whatever its type.

    Raises ModelError if there is none of these, OptionError if the task asks for another head or other labels, or the output that
    is asked for is none of these, RepositoryError for files that say how an embedding is made and cannot be followed.
    """
    config.check_modules()
    stored = _stored(session, config)
    outputs = [] if stored is not None else _outputs(session, config)
    if task is not None and task.kind is Kind.SPANS:
        return _reading_head(session, outputs, config)
    logits = _logits(outputs, config)
    if logits is not None:
        if config.asked.pooling is not None:
            raise OptionError(
                f"`pooling` {config.asked.pooling} is of token embeddings, but {session.label} answers with {logits.name}: "
                "leave it out"
            )
        return _sequence_head(session, logits, config, task)
    head = stored or _embedding_head(session, outputs, config)
    if task is not None and isinstance(head, TokenVectors):
        raise OptionError(
            f"{_called(task)} is scored by one vector a text, and there is one a token: "
            + ("leave out `pooling` none" if config.asked.unpooled else "`pooling` says how they become one")
        )
    if task is not None and task.kind is not Kind.RANKING and (task.kind is not Kind.SCORES or len(task.columns) != 2):
        raise OptionError(
            f"{_called(task)} needs a model with a class head, but {session.label} gives embeddings "
            f"({head.output}), which can be scored on {'pairs' if task.own else 'stsb'} only"
        )
    return head


def _stored(session: Session, config: ModelConfig) -> SentenceEmbedding | None:
    """Return what reads the output of embeddings to be stored; None where there is none, or another is asked for."""
    stored = config.stored
    if stored is None or config.asked.answer not in (None, stored.output) or config.asked.unpooled:
        return None
    if all(value.name != stored.output for value in session.outputs):
        raise RepositoryError(
            f"{session.label} has no output {stored.output}, which {STORED_FILE} beside it names: these files are not those of "
            "the model"
        )
    return SentenceEmbedding(stored.output, replace(config.embedding(), modules=(), dimensions=None), stored)


def _outputs(session: Session, config: ModelConfig) -> list[ValueSpec]:
    floats = [value for value in session.outputs if value.type in _FLOATS]
    name = config.asked.answer
    if name is None:
        return floats
    found = [value for value in floats if value.name == name]
    if not found or len(found[0].shape) not in (2, 3):
        has = ", ".join(f"{value.name} {list(value.shape)}" for value in session.outputs)
        raise OptionError(
            f"`answer` {name} is no output of {session.label} with two axes, those of texts, or three, those of tokens; it has "
            f"{has}"
        )
    return found


def _called(task: Task) -> str:
    return f"`data` {task.name}" if task.own else f"`task` {task.name}"


def _reading_head(session: Session, outputs: Sequence[ValueSpec], config: ModelConfig) -> SpanLogits:
    head = span_head(outputs)
    if head is None:
        raise OptionError(
            f"questions are answered by start_logits and end_logits, and {session.label} has the outputs "
            + ", ".join(value.name for value in session.outputs)
        )
    for option, value in (("pooling", config.asked.pooling), ("prompt", config.asked.prompt)):
        if value is not None:
            raise OptionError(f"`{option}` {value} is of texts, but {session.label} answers questions: leave it out")
    return head


def _logits(outputs: Sequence[ValueSpec], config: ModelConfig) -> ValueSpec | None:
    named = [value for value in outputs if value.name == "logits"]
    if not named and config.classifies_sequences:
        named = [value for value in outputs if len(value.shape) == 2]
    return named[0] if named else None


def _sequence_head(session: Session, logits: ValueSpec, config: ModelConfig, task: Task | None) -> Head:
    if len(logits.shape) == 3:
        return _token_head(session, logits, task)
    if len(logits.shape) != 2:
        raise ModelError(
            f"{session.label}: output {logits.name!r} has {len(logits.shape)} dimensions; logits have two, those of tokens three"
        )
    classes = logits.shape[1] if isinstance(logits.shape[1], int) else len(config.labels)
    if not classes:
        raise ModelError(
            f"{session.label}: neither output {logits.name!r} nor a config.json says how many labels there are"
        )
    if task is not None and task.kind not in (Kind.CLASSES, Kind.LABELS, Kind.SCORES, Kind.RANKING):
        raise OptionError(f"{_called(task)} asks about {task.kind}, but {session.label} answers about whole texts")
    if task is not None and classes != (expected := max(1, len(task.labels))):
        raise OptionError(
            f"{_called(task)} has {_counted(task.labels, expected)}, but {session.label} has "
            f"{_counted(config.labels, classes)}"
        )
    if classes == 1:
        return ScoreHead(logits.name, config.score_activation or Activation.IDENTITY, config.prompt())
    if config.several_labels and (task is None or task.kind is Kind.LABELS):
        return LabelLogits(logits.name, config.prompt())
    order = tuple(range(classes)) if task is None else _label_order(session, config, task)
    return ClassLogits(logits.name, order, config.prompt())


def _token_head(session: Session, logits: ValueSpec, task: Task | None) -> TokenLogits | WordLogits:
    if task is not None and task.kind not in (Kind.ENTITIES, Kind.WORDS):
        raise OptionError(
            f"{_called(task)} asks about whole texts, but {session.label} answers for every token; leave out `task` to "
            "compare the answers to sentences"
        )
    classes = logits.shape[2]
    if task is not None and task.kind is Kind.WORDS:
        return WordLogits(logits.name)
    if task is not None and isinstance(classes, int) and classes != len(task.labels):
        raise OptionError(
            f"{_called(task)} has {_counted(task.labels, len(task.labels))}, but {session.label} has {classes} tags"
        )
    if isinstance(classes, int) and classes > _MOST_TOKEN_CLASSES:
        return WordLogits(logits.name)
    return TokenLogits(logits.name)


def names_classes(config: ModelConfig) -> bool:
    """Say whether config.json has names for the classes; LABEL_0, LABEL_1 … are none."""
    return bool(config.labels) and not all(re.fullmatch(r"(label)?\d+", plain(name)) for name in config.labels)


def _label_order(session: Session, config: ModelConfig, task: Task) -> tuple[int, ...]:
    """Find each label of the task among the model's; names such as LABEL_0 say nothing: then it is the task's order."""
    if not names_classes(config):
        return tuple(range(len(task.labels)))
    if config.labels == task.labels:
        return tuple(range(len(task.labels)))
    names, wanted = (
        [_OTHER_NAMES.get(plain(name), plain(name)) for name in side] for side in (config.labels, task.labels)
    )
    if sorted(names) != sorted(wanted):
        raise OptionError(
            f"{_called(task)} has the labels {', '.join(task.labels)}, but those of {session.label} are, says "
            f"{config.path}, {', '.join(config.labels)}"
        )
    return tuple(names.index(name) for name in wanted)


def _embedding_head(
    session: Session, outputs: Sequence[ValueSpec], config: ModelConfig
) -> SentenceEmbedding | TokenVectors:
    named = (config.asked.answer,)
    pooled = [v for v in outputs if len(v.shape) == 2 and (v.name in named or v.name not in _NOT_AN_EMBEDDING)]
    tokens = [v for v in outputs if len(v.shape) == 3]
    alike = [v for v in pooled if _POOLED_ELSEWHERE.search(v.name)]
    named_pooled = [v for v in pooled if v.name in _POOLED] or (alike if len(alike) == 1 else [])
    named_tokens = [v for v in tokens if v.name in _TOKENS]
    if config.asked.unpooled:
        if not tokens:
            raise OptionError(
                f"`pooling` none is of vectors of tokens, and {session.label} has no output with three axes"
            )
        return _unpooled(session, (named_tokens or tokens)[0], config)
    if named_pooled:
        return _pooled_in_graph(session, named_pooled[0], config)
    if tokens and config.answers_by_token:
        return _unpooled(session, (named_tokens or tokens)[0], config)
    if tokens:
        return _pooled_outside(session, (named_tokens or tokens)[0], config)
    if len(pooled) == 1:
        return _pooled_in_graph(session, pooled[0], config)
    if span_head(outputs) is not None:
        raise ModelError(
            f"{session.label} answers questions by a span of their context, which texts alone do not ask: `data` FILE with "
            "question, context and answers scores it"
        )
    flat = [value.name for value in outputs if len(value.shape) == 2]
    raise ModelError(
        f"{session.label} has neither class logits nor embeddings among its outputs: "
        + ", ".join(f"{value.name} {list(value.shape)}" for value in session.outputs)
        + (f"; `answer` {flat[0] if len(flat) == 1 else 'NAME'} takes one of them for an embedding" if flat else "")
    )


def _unpooled(session: Session, tokens: ValueSpec, config: ModelConfig) -> TokenVectors:
    modules, features = config.token_modules(), tokens.shape[2]
    widths = [module.in_features for module in modules if module.in_features is not None]
    outs = [module.out_features for module in modules if module.out_features is not None]
    if widths and isinstance(features, int) and features != widths[0]:
        if features == outs[-1]:  # the graph has them inside
            return TokenVectors(tokens.name, config.prompt())
        raise RepositoryError(
            f"{session.label} gives {features} numbers a token, but the module that follows takes {widths[0]}: these files are "
            "not those of the model"
        )
    return TokenVectors(tokens.name, config.prompt(), modules)


def _pooled_outside(session: Session, tokens: ValueSpec, config: ModelConfig) -> TokenEmbeddings:
    embedding = config.embedding()
    features, expected = tokens.shape[2], embedding.in_features
    if isinstance(features, int) and expected not in (None, features * len(embedding.pooling)):
        raise RepositoryError(
            f"{session.label} gives {features} numbers a token, {features * len(embedding.pooling)} when pooled, but the module "
            f"that follows takes {expected}: these files are not those of the model"
        )
    return TokenEmbeddings(tokens.name, embedding)


def _pooled_in_graph(session: Session, pooled: ValueSpec, config: ModelConfig) -> SentenceEmbedding:
    if config.asked.pooling is not None:
        raise OptionError(
            f"`pooling` {config.asked.pooling} is of token embeddings, but {session.label} pools them itself ({pooled.name}): "
            "leave it out"
        )
    features = pooled.shape[1] if isinstance(pooled.shape[1], int) else None
    return SentenceEmbedding(pooled.name, config.embedding().outside_of_graph(features))


def _counted(names: Sequence[str], count: int) -> str:
    """Say ``2 labels (negative, positive)``, or ``a score`` for one output."""
    if count == 1:
        return "a score"
    return f"{count} labels" + (f" ({', '.join(names)})" if len(names) == count else "")
