"""The embedding to be stored: refusals before anything takes its time; then what is chosen, and how like it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.embedding_output.choice import Chosen, Wanted, choose
from squeeze_onnx.compress.embedding_output.files import Shrunk
from squeeze_onnx.compress.embedding_output.grids import Grid
from squeeze_onnx.compress.embedding_output.nodes import OLDEST_OPSET, add_output
from squeeze_onnx.compress.looker import looker_of
from squeeze_onnx.compress.settings.vectors import refuse_part_of_a_byte
from squeeze_onnx.data.calibration import run_over
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.positions import MASK
from squeeze_onnx.data.similarity import Similarity
from squeeze_onnx.data.stored_output import STORED_FILE, OutputType, StoredOutput
from squeeze_onnx.evaluate.answer_heads import SentenceEmbedding
from squeeze_onnx.evaluate.answers import AnswerListener
from squeeze_onnx.evaluate.fidelity import Fidelity, pair_fidelity
from squeeze_onnx.graph.io.model import OnnxModel, serialized_size
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.spectral.embedding_maps import EmbeddingMap
from squeeze_onnx.support.errors import DataError, ModelError, OptionError

LABEL = "Embedding"


@dataclass(frozen=True, eq=False)
class Outcome:
    """The output that was added, and what the report says of it."""

    shrunk: Shrunk
    report: dict[str, Any]


def refuse_stored(context: Context) -> None:
    """Raise ModelError for a model whose embeddings are made to be stored already: what it was made of is to be squeezed."""
    if read_settings(context.dense.path).stored is not None:
        raise ModelError(
            f"{context.dense.path} returns embeddings made to be stored, says {STORED_FILE} beside it: start from the model that "
            "it was made of"
        )


def refuse_no_embedder(context: Context) -> None:
    """Raise OptionError, or DataError for too little text, if the output that is asked for cannot be had."""
    config = context.config
    if not config.shrinks_output:
        return
    setting = "output_dimensions" if config.output_dimensions is not None else "output_type"
    if not context.batches:
        raise OptionError(
            f"`{setting}` looks at embeddings of text; give `calibration` a text file, glue:TASK (with `data`) or an .npz"
        )
    head = _embedder(context, setting)
    _refuse_few_texts(context)
    declared = _declared(context.dense, head)
    if declared is not None:
        width = Shrunk(head, declared, _NO_MAP, _NO_OUTPUT).width
        _refuse_dimensions(context, width if head.embedding.dimensions is None else head.embedding.width_of(width))
    if config.fuse is not None:
        resolve_provider(config.fuse)
    opset = context.dense.ir.graph.opset_imports.get("", 0)
    if opset < OLDEST_OPSET:
        raise OptionError(
            f"`{setting}` needs opset {OLDEST_OPSET} or later, and {context.dense.path} has {opset}: export it again"
        )


def shrink_output(context: Context, model: OnnxModel) -> Outcome | None:
    """Add to the finished ``model`` the output that is asked for; None if none is.

    Its embeddings of the calibration text say what is kept, those of text that is held back which way is best.
    """
    config = context.config
    if not config.shrinks_output:
        return None
    head = context.head
    assert isinstance(head, SentenceEmbedding), "checked before"
    looker = looker_of(context)
    provider = config.fuse or config.provider
    listener = AnswerListener(model.ir, head)
    batches = (*context.batches, *looker.text)
    run_over(model.ir, batches, [listener], provider=provider, track=context.track, label=LABEL)
    rows = listener.answers().values
    fitted, judged = np.split(rows, [len(rows) - sum(batch.sequences for batch in looker.text)])
    features = rows.shape[1]
    _refuse_dimensions(context, features)
    wanted = Wanted(
        config.output_dimensions,
        OutputType(config.output_type or OutputType.FLOAT),
        head.embedding.similarity,
        config.seed,
        cut=head.embedding.dimensions is not None,
    )
    chosen = choose(fitted, judged, wanted)
    stored = chosen.stored(add_output(model.ir, head, chosen.map, chosen.grid))
    shrunk = Shrunk(head, _declared(model, head) or features, chosen.map, stored)
    assert looker.dense.answers is not None, "there is text, and its head is known"
    before = pair_fidelity(looker.dense.answers.values, judged)
    after = pair_fidelity(looker.dense.answers.values, chosen.decoded(judged))
    return Outcome(shrunk, _report(chosen, shrunk, before, after, held_back=looker.held_back, texts=len(judged)))


def bytes_of_output(context: Context) -> int:
    """Return how many bytes of the file the output that is asked for takes: 0 if none is, and nearly what it comes to else."""
    return (
        context.once("bytes of the output", lambda: _bytes_of_output(context)) if context.config.shrinks_output else 0
    )


def _bytes_of_output(context: Context) -> int:
    head, config = context.head, context.config
    assert isinstance(head, SentenceEmbedding), "checked before"
    model = context.dense.ir.clone()
    declared = _declared(context.dense, head)
    if declared is None:
        return 0
    features = Shrunk(head, declared, _NO_MAP, _NO_OUTPUT).width
    features = min(features, head.embedding.dimensions or features)
    kind, before = OutputType(config.output_type or OutputType.FLOAT), serialized_size(model)
    axes = np.eye(features)
    if config.output_dimensions is not None or kind is OutputType.BINARY:
        axes = np.ones((features, config.output_dimensions or features))
    add_output(model, head, EmbeddingMap(np.zeros(features), axes), Grid(kind))
    return serialized_size(model) - before


def _report(
    chosen: Chosen, shrunk: Shrunk, before: Fidelity, after: Fidelity, *, held_back: bool, texts: int
) -> dict[str, Any]:
    stored = shrunk.stored
    bytes_each: Mapping[str, int] = {
        "before": OutputType.FLOAT.bytes_of(stored.of_dimensions),
        "after": stored.bytes,
    }
    return {
        **stored.to_json(),
        "bytes": bytes_each,
        "map": chosen.name,
        "tried": dict(chosen.tried),
        "texts": texts,
        "held_back": held_back,
        "pair_difference": {"before": before.pair_difference, "after": after.pair_difference},
        "pair_correlation": {"before": before.pair_correlation, "after": after.pair_correlation},
    }


def _embedder(context: Context, setting: str) -> SentenceEmbedding:
    """Return the head, which reads embeddings; raises OptionError if it reads something else."""
    try:
        head = context.head
    except ModelError as error:
        raise OptionError(f"`{setting}` is for models that answer with embeddings: {error}") from error
    if not isinstance(head, SentenceEmbedding):
        raise OptionError(
            f"`{setting}` is for models that answer with an embedding a text, and {context.dense.path} answers with "
            f"{head.kind.replace('_', ' ')} ({head.output}): leave it out"
        )
    if context.config.output_dimensions is not None and head.embedding.similarity is Similarity.MANHATTAN:
        raise OptionError(
            f"`{setting}` rotates embeddings, and the similarity_fn_name of {context.dense.path} is manhattan, which a rotation "
            "does not keep: leave it out"
        )
    mask = next((value for value in context.dense.ir.graph.inputs if value.name == MASK), None)
    if mask is not None and mask.shape is not None and len(mask.shape) != 2:
        raise OptionError(
            f"`{setting}` pools by the {MASK} of the graph, and that of {context.dense.path} has {len(mask.shape)} axes, not "
            "those of texts and tokens: leave it out"
        )
    return head


def _declared(model: OnnxModel, head: SentenceEmbedding) -> int | None:
    """Return how many numbers the output that ``head`` reads is declared to have; None if the graph does not say."""
    output = next(value for value in model.ir.graph.outputs if value.name == head.output)
    last = output.shape[-1] if output.shape else None
    return last if isinstance(last, int) else None


def _refuse_dimensions(context: Context, features: int) -> None:
    """Raise OptionError for more dimensions than there are ``features``, and for bits that do not fill their bytes."""
    asked = context.config.output_dimensions
    if asked is not None and asked > features:
        raise OptionError(
            f"`output_dimensions` {asked}: embeddings of {context.dense.path} have {features}; ask for fewer"
        )
    refuse_part_of_a_byte(OutputType(context.config.output_type or OutputType.FLOAT), asked or features)


def _refuse_few_texts(context: Context) -> None:
    """Raise DataError where the second moment of the texts has fewer directions than are to stay."""
    asked, texts = context.config.output_dimensions, sum(batch.sequences for batch in context.batches)
    if asked is not None and texts < asked:
        raise DataError(
            f"`output_dimensions` {asked} takes as many directions out of the embeddings of the calibration text, and there are "
            f"{texts} texts: give at least {asked}, better ten times as many, with `calibration`"
        )


_NO_MAP = EmbeddingMap(np.zeros(0), np.zeros((0, 0)))
_NO_OUTPUT = StoredOutput("", 1, 1)
