"""Slicing: take whole columns out of a block of weights instead of lowering the rank of each; no product is added.

A kind of block is one file here and one line in `stage.KINDS`: the neurons of feed-forward blocks, the dimensions of query and
key, and of value and output, in the heads of an attention.
"""

from squeeze_onnx.compress.slicing.base import Block, Measurement, SiteStatistics, SlicingKind
from squeeze_onnx.compress.slicing.cached import without_uneven
from squeeze_onnx.compress.slicing.stage import (
    KINDS,
    blocks_among,
    check_slices,
    measure_blocks,
    slice_sites,
    slicings_of,
)

__all__ = [
    "KINDS",
    "Block",
    "Measurement",
    "SiteStatistics",
    "SlicingKind",
    "blocks_among",
    "check_slices",
    "measure_blocks",
    "slice_sites",
    "slicings_of",
    "without_uneven",
]
