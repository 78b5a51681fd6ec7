"""When heads may become thinner that a decoder's cache holds: all of them alike, or none.

Whoever runs a decoder allocates its cache by one number, the size of a head, for the keys and the values of all layers: optimum
reads it off config.json, onnxruntime-genai off genai_config.json. So these heads get one width, see
`squeeze_onnx.compress.allocators.tied_widths`, or stay whole where some of them have to.
"""

from collections.abc import Sequence

import onnx_ir as ir

from squeeze_onnx.compress.slicing.stage import Found
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.attention_heads import HeadBlock
from squeeze_onnx.graph.match.caches import TOKENS, Cache, caches_in, past_of

_CACHE_AXES = 4


def without_uneven(
    found: Sequence[Found], model: OnnxModel, batches: Sequence[CalibrationBatch]
) -> tuple[list[Found], str | None]:
    """Return the blocks ``found`` in ``model`` whose columns may go, and why those do not whose heads a cache holds.

    ``batches`` is what the model is run on before and after.
    """
    cached = [block for _, block in found if isinstance(block, HeadBlock) and block.caches]
    caches = list(caches_in(model.ir.graph))
    reason = _reason(cached, caches, model, batches) if caches else None
    if reason is None:
        return list(found), None
    return [each for each in found if each[1] not in cached], reason


def _reason(
    cached: Sequence[HeadBlock], caches: Sequence[Cache], model: OnnxModel, batches: Sequence[CalibrationBatch]
) -> str | None:
    others = [value for value in model.ir.graph.inputs if _is_fed_by_another(value)]
    if others or "with_past" in model.path.stem:
        return "another file fills the cache, which would have to be cut alike"
    thinned = {cache.node for block in cached for cache in block.caches}
    left = [cache for cache in caches if cache.node not in thinned]
    if left:
        several = f", the first of {len(left)} such," if len(left) > 1 else ""
        return f"those of {left[0].past.name}{several} cannot be made thinner, or their weights were left out"
    if len({cache.width for cache in caches}) > 1:
        return "they are not equally wide"
    pasts = {str(cache.past.name) for cache in caches}
    if any(name in pasts and entries.shape[TOKENS] for batch in batches for name, entries in batch.feeds.items()):
        return (
            "the calibration data has earlier keys and values of this width; give text or an .npz with an empty cache"
        )
    return None


def _is_fed_by_another(value: ir.Value) -> bool:
    """Whether ``value`` is keys or values that the graph takes and does not return."""
    is_float = value.dtype is not None and value.dtype.is_floating_point()
    return is_float and value.shape is not None and len(value.shape) == _CACHE_AXES and past_of(value) is None
