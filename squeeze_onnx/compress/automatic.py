"""The method that ``auto`` stands for."""

from collections.abc import Sequence

import onnx_ir as ir

from squeeze_onnx.compress.config import DEFAULT_OBJECTIVE
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.answer_heads import ClassLogits, LabelLogits, ScoreHead, TokenLogits
from squeeze_onnx.learning.distill import check_teachable
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.support.errors import ModelError, OptionError


def resolve_method(context: Context) -> str:
    """Return the method that is asked for, or the best that the sites of the model and the data allow for ``auto``.

    Raises OptionError if it does not heed the floors or the objective that were asked for.
    """
    config = context.config
    method = _resolved(context)
    if config.method != "auto" and METHODS[method].fisher is not None and context.batches:
        check_gradients(context)  # told before anything is measured
    asked = {"`floor`": bool(config.floor), f"`objective` {config.objective}": config.objective != DEFAULT_OBJECTIVE}
    for option in (option for option, given in asked.items() if given and not METHODS[method].heeds_floors):
        heeding = ", ".join(name for name, known in METHODS.items() if known.heeds_floors)
        raise OptionError(
            f"{option} is kept by `method` {heeding} (which needs `calibration`), not by {method}; leave it out"
        )
    return method


def _resolved(context: Context) -> str:
    config, calibration = context.config, context.batches
    if config.method != "auto":
        return config.method
    if config.preset or config.rank_rule is not None:  # rules look at one spectrum, for which `squeeze` needs no data
        return "squeeze"
    if not calibration:
        return "svd"
    return "fisher" if _several(calibration) and _decides(context) else "whiten"


def _several(calibration: Sequence[CalibrationBatch]) -> bool:
    """Whether there is more than one text: gradients of one say little."""
    return sum(batch.sequences for batch in calibration) > 1


def _decides(context: Context) -> bool:
    """Whether the answer is a class, of the text or of each token, labels or a score, and can be followed to what sites return.

    Few directions of each output move such an answer, and gradients know which. The text of an embedding is in all of them, and
    `whiten` does nearly as well there in two thirds of the time (models/*/results/method.json).

    Whatever keeps gradients from being taken is no error: `whiten` takes none.
    """
    if not isinstance(context.known_head, ClassLogits | LabelLogits | TokenLogits | ScoreHead):
        return False
    try:
        check_gradients(context)
    except (ModelError, OptionError):
        return False
    return True


def check_gradients(context: Context) -> None:
    """Raise ModelError, which names the operator and the node, if what the sites return cannot be followed to the answer."""
    for site in context.sites:
        if site.weight.dtype != ir.DataType.FLOAT:
            raise ModelError(
                f"{site.name} has a weight of type {site.weight.dtype.name}, and gradients are taken of FLOAT only: convert the "
                "model first, or take `method` whiten"
            )
    _ = context.fisher_graph


def check_distillation(context: Context) -> None:
    """Raise ModelError, which names the operator and the node, if the model is to learn and cannot."""
    if context.config.distill and context.batches:
        model = context.dense.ir
        context.once("teachable", lambda: check_teachable(model, distillation_losses(model, context.head)))
