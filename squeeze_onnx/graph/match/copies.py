"""Weights that an exporter wrote several times: equal tensors of one type and shape, found without keeping any in memory.

torch.onnx folds the Transpose of a Linear layer into its weight use by use, so layers that share their weights (ALBERT) are
written once a layer.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.external_data import large_places
from squeeze_onnx.graph.match.constants import FLOAT_TYPES
from squeeze_onnx.graph.match.operators import WEIGHT_OPERATORS, op_of
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites

_SEEN_FIRST = 64
"""Entries that are compared before all of them are: of tensors that differ, hardly any are read."""

T = TypeVar("T")


@dataclass(frozen=True)
class Copies:
    """How much of a model is copies: ``bytes`` that equal others before them, of ``tensors`` tensors."""

    bytes: int
    tensors: int


def count_copies(model: ir.Model) -> Copies:
    """Return how much the initializers of the main graph of ``model``, above 1 KiB each, repeat each other."""
    tensors = [place.tensor for place in large_places([model.graph])]
    groups = list(equal_groups((tensor, tensor) for tensor in tensors))
    return Copies(sum(group[0].nbytes * (len(group) - 1) for group in groups), sum(len(group) - 1 for group in groups))


def equal_sites(model: ir.Model) -> Iterator[list[MatMulSite]]:
    """Yield sites of ``model`` that use equal weights alike, two or more at once, in graph order.

    Weights whose entries are all the same are left apart: they tell nothing, and what learns may part them.
    """
    sites = (site for site in find_sites(model).sites if site.weight.tensor.dtype in FLOAT_TYPES)
    for group in equal_groups((site, site.weight.tensor) for site in sites):
        alike: dict[Hashable, list[MatMulSite]] = defaultdict(list)
        for site in group:
            lookup = WEIGHT_OPERATORS[op_of(site.nodes[0])].lookup
            alike[lookup, site.weight.transposed, site.weight.decoding].append(site)
        yield from (
            found for found in alike.values() if len(found) > 1 and not _is_constant(found[0].weight.tensor.numpy())
        )


def equal_groups(items: Iterable[tuple[T, ir.TensorProtocol]]) -> Iterator[list[T]]:
    """Yield the items, two or more at once, whose tensors are equal in type, shape and every bit."""
    for like in _grouped((item, tensor, (tensor.dtype, tuple(tensor.shape.numpy()))) for item, tensor in items):
        for begun in _grouped((item, tensor, _ends(tensor)) for item, tensor in like):
            for equal in _grouped((item, tensor, _digest(tensor)) for item, tensor in begun):
                yield [item for item, _ in equal]


def _grouped(
    keyed: Iterable[tuple[T, ir.TensorProtocol, Hashable]],
) -> Iterator[Sequence[tuple[T, ir.TensorProtocol]]]:
    groups: dict[Hashable, list[tuple[T, ir.TensorProtocol]]] = defaultdict(list)
    for item, tensor, key in keyed:
        groups[key].append((item, tensor))
    yield from (group for group in groups.values() if len(group) > 1)


def _ends(tensor: ir.TensorProtocol) -> bytes:
    entries = tensor.numpy().reshape(-1)
    return bytes(entries[:_SEEN_FIRST].tobytes() + entries[-_SEEN_FIRST:].tobytes())


def _digest(tensor: ir.TensorProtocol) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(tensor.numpy()).view(np.uint8).data).digest()


def _is_constant(entries: np.ndarray) -> bool:
    return bool((entries == entries.reshape(-1)[0]).all())
