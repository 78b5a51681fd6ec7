"""The slicing stage: blocks of every kind, measured for the allocator, and sliced as the plan says."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from squeeze_onnx.compress.allocators import Slicing
from squeeze_onnx.compress.slicing.base import Block, Measurement, SiteStatistics, SlicingKind
from squeeze_onnx.compress.slicing.heads import CONTEXTS, SCORES
from squeeze_onnx.compress.slicing.neurons import NEURONS
from squeeze_onnx.compress.slicing.rotated import ROTATED
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.graph.io.spilling import Store, in_memory
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import Track, silent

KINDS: dict[str, tuple[SlicingKind[Any, Any], ...]] = {"neurons": (NEURONS,), "heads": (SCORES, ROTATED, CONTEXTS)}
"""What can be sliced, as options name it; no site belongs to two blocks."""


Found = tuple[SlicingKind[Any, Any], Block]
"""A block, and of which kind it is."""


def blocks_among(sites: Sequence[MatMulSite], kinds: Collection[str], *, rounded: bool = False) -> list[Found]:
    """Return the blocks of ``kinds`` (names in `KINDS`) among ``sites`` whose columns may go.

    Blocks with a quantized weight are left out unless what is new is ``rounded`` too: as floats it would be larger.
    """
    found = _find(sites, kinds)
    return [each for each in found if rounded or not any(site.weight.decoding for site in each[1].sites)]


def measure_blocks(found: Sequence[Found], seen: SiteStatistics, track: Track = silent) -> dict[str, Measurement]:
    """Measure the blocks ``found``, by name."""
    return {block.name: kind.measure(block, seen) for kind, block in track(found, "Blocks")}


def slicings_of(spectra: Sequence[SiteSpectra], blocks: Mapping[str, Measurement]) -> tuple[Slicing, ...]:
    """Return ``blocks`` as an allocator sees them, next to the ``spectra`` of their sites, in the same metric as they."""
    candidates = {each.site.name: each.candidate for each in spectra}
    return tuple(block.slicing(candidates) for block in blocks.values())


def slice_sites(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    kept_shapes: Mapping[str, tuple[int, int]],
    blocks: Mapping[str, Measurement],
    *,
    shift_biases: bool,
    store: Store = in_memory,
) -> dict[str, TruncationErrors]:
    """Take columns out of ``sites`` until those named in ``kept_shapes`` have these; ``model`` changes in place.

    New weights go to ``store``. With ``shift_biases`` the mean of what they did goes to the bias behind them, where there is one.
    Returns the errors by name; ``sites`` that were sliced are out of date then. Raises OptionError unless these
    are shapes of blocks.
    """
    errors: dict[str, TruncationErrors] = {}
    rewriter = Rewriter(model, store)
    for kind, block, columns in _planned_blocks(sites, kept_shapes):
        if block.name not in blocks:
            raise OptionError(
                f'the plan has a "kept_shape" for site {block.name}, but nothing is known of what it reads: only float weights '
                "lose columns, and by a method that looks at activations"
            )
        errors |= kind.prune(rewriter, block, blocks[block.name], columns, shift_biases=shift_biases)
    return errors


def check_slices(sites: Sequence[MatMulSite], kept_shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise OptionError unless ``kept_shapes``, by name, take columns out of whole blocks of ``sites``."""
    for _ in _planned_blocks(sites, kept_shapes):
        pass


def _find(sites: Sequence[MatMulSite], kinds: Collection[str]) -> list[Found]:
    return [(kind, block) for name in kinds for kind in KINDS[name] for block in kind.find(sites)]


def _planned_blocks(
    sites: Sequence[MatMulSite], kept_shapes: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[SlicingKind[Any, Any], Block, int]]:
    """Yield the blocks that lose columns, and how many stay."""
    if not kept_shapes:
        return
    pending = dict(kept_shapes)
    for kind, block in _find(sites, KINDS):
        asked = {site.name: pending.pop(site.name, (site.in_features, site.out_features)) for site in block.sites}
        columns = _columns(block, asked)
        if columns < block.columns:
            yield kind, block, columns
    if pending:
        raise OptionError(
            f'the plan has a "kept_shape" for site {next(iter(pending))}, which is in no feed-forward block and no '
            "attention whose heads can be made thinner"
        )


def _columns(block: Block, asked: Mapping[str, tuple[int, int]]) -> int:
    """Return how many columns of ``block`` stay if its sites get the shapes ``asked``."""
    first = block.sites[0].name
    columns = asked[first][1] * block.columns // block.shapes(block.columns)[first][1]
    for name, shape in block.shapes(columns).items():
        if asked[name] != shape:
            others = ", ".join(other.name for other in block.sites if other.name != name)
            raise OptionError(
                f'the plan gives site {name} the "kept_shape" {list(asked[name])}; with that of {others} it has to be '
                f"{list(shape)}"
            )
    if columns % block.parts:
        raise OptionError(
            f'the plan gives site {first} the "kept_shape" {list(asked[first])}; {columns} is no multiple of its '
            f"{block.parts} heads"
        )
    return columns
