"""What a sublayer takes beside its weights: heads, softmax, nonlinearity, normalizations, copies and additions.

Which of a model's nodes belong to it is hidden by the operators that ONNX Runtime fuses, so it is measured from outside: the
model is timed as it is, without any attention, and without any feed-forward block.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.lowering import finish
from squeeze_onnx.compress.plan import Plan, PlannedPrecision
from squeeze_onnx.graph.io.model import OnnxModel, save_model
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.match.sublayers import find_sublayers
from squeeze_onnx.graph.rewrite.removal import fold_constants, remove_sublayer
from squeeze_onnx.support.stopwatch import Stopwatch

Timer = Callable[[Sequence[Path]], Sequence[float]]
"""Times models in turns, in nanoseconds a run."""


def latency_beside_weights(context: Context, weight: Callable[[MatMulSite], float], timer: Timer) -> dict[str, float]:
    """Return the nanoseconds of each sublayer beside its weights, by its name; ``weight`` are those of a weight.

    Those of all attentions are shared evenly, and so are those of all feed-forward blocks.
    """
    eligible = {site.name for site in context.sites}
    sublayers = find_sublayers(context.found.sites, eligible)
    kinds = [[each for each in sublayers if each.is_attention is attention] for attention in (True, False)]
    present = [kind for kind in kinds if kind]
    if not present:
        return {}
    with ExitStack() as stack:
        paths = [stack.enter_context(_without(context, [each.name for each in kind])) for kind in ([], *present)]
        whole, *rest = timer(paths)
    found: dict[str, float] = {}
    for kind, left in zip(present, rest, strict=True):
        weights = sum(weight(site) for each in kind for site in each.sites)
        found |= {each.name: max(whole - left - weights, 0.0) / len(kind) for each in kind}
    return found


@contextmanager
def _without(context: Context, names: Sequence[str]) -> Iterator[Path]:
    """Give the path of the dense model without the sublayers ``names``, with all weights in the precision that is asked for."""
    model = OnnxModel(context.dense.path, context.dense.ir.clone())
    for sublayer in find_sublayers(find_sites(model.ir).sites):
        if sublayer.name in names:
            remove_sublayer(model.ir, sublayer, np.zeros(sublayer.after.out_features))
    fold_constants(model.ir)
    kept_none = Plan("", {}, (), precision=PlannedPrecision(context.config.precision or "fp32", kept=()))
    finished = finish(replace(context, batches=()), model, kept_none, clock=Stopwatch())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_model(finished.model.ir, path)
        yield path
