"""What a model is, as far as the command depends on it that would succeed next."""

import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto, ValueInfoProto

from squeeze_onnx.compress.config import AnalyzeConfig
from squeeze_onnx.compress.eligibility import choose_eligible
from squeeze_onnx.compress.preparing import open_model
from squeeze_onnx.compress.site_choice import find_sites_of
from squeeze_onnx.data.batches import FeedBuilder
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.evaluate.span_head import span_head
from squeeze_onnx.graph.io.outline import parse_outline
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.support.errors import SqueezeError

_TAKEN_AS = {
    (): AnalyzeConfig(),
    ("--dequantize",): AnalyzeConfig(dequantize=True),
    ("--freeze-inputs",): AnalyzeConfig(freeze_inputs=True),
}


@dataclass(frozen=True)
class DeclaredValues:
    """Whether tokens are all that a model takes, whether it answers texts in a way that is known, and whether by a span."""

    take_text: bool
    answer_texts: bool
    answer_by_span: bool


def declared_values(model: Path, answer: str | None = None) -> DeclaredValues:
    """Read what ``model``, a file or a folder, declares, where ``answer`` may be its output; raises as `find_repository`."""
    path = find_repository(model).model_path
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        graph = parse_outline(content, path.name).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs, outputs = _specs([value for value in graph.input if value.name not in constants]), _specs(graph.output)

    def declares(read: Callable[[], object]) -> bool:
        try:
            read()
        except SqueezeError:
            return False
        return True

    asked = EmbeddingOptions(answer=answer)
    session = Session(path.name, "cpu", tuple(inputs), tuple(outputs), None)  # outputs are looked at, nothing is run
    return DeclaredValues(
        take_text=declares(lambda: FeedBuilder.for_inputs(path.name, inputs)),
        answer_texts=declares(lambda: choose_head(session, read_settings(path, asked), None)),
        answer_by_span=span_head(outputs) is not None,
    )


def first_options(model: Path) -> list[str] | None:
    """Return what `optimize` has to be told of ``model`` for it to find a weight to squeeze; None if nothing helps."""
    for taken_as, config in _TAKEN_AS.items():
        try:
            sites = find_sites_of(open_model(model, config).ir, config).sites
        except SqueezeError:
            continue
        eligible = {site.name for site in choose_eligible(sites).sites}
        roles = roles_to_take((str(site.role), site.name in eligible) for site in sites if site.break_even_rank >= 1)
        if roles is not None:
            return [*taken_as, *roles]
    return None


def roles_to_take(sites: Iterable[tuple[str, bool]]) -> list[str] | None:
    """Return the ``--include`` without which none of the ``sites``, (role, eligible), is squeezed; None if there are none."""
    sites = list(sites)
    if not sites:
        return None
    roles = [] if any(eligible for _, eligible in sites) else dict.fromkeys(role for role, _ in sites)
    return [word for role in roles for word in ("--include", role)]


def _specs(values: Sequence[ValueInfoProto]) -> list[ValueSpec]:
    return [
        ValueSpec(
            value.name,
            f"tensor({TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()})",
            tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim),
        )
        for value in values
    ]
