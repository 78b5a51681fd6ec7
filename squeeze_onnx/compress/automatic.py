"""The method that ``auto`` stands for."""

from collections.abc import Sequence

import onnx_ir as ir

from squeeze_onnx.compress.config import DEFAULT_OBJECTIVE, OptimizeConfig
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.evaluate.heads import ClassLogits, Regression, TokenLogits
from squeeze_onnx.evaluate.model_head import head_of
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.learning.gradients import is_differentiable
from squeeze_onnx.support.errors import ModelError, OptionError


def resolve_method(
    model: OnnxModel, sites: Sequence[MatMulSite], config: OptimizeConfig, calibration: Sequence[CalibrationBatch]
) -> str:
    """Return the method that ``config`` names, or the best that ``sites`` of ``model`` and the data allow for ``auto``.

    Raises OptionError if it does not heed the floors or the objective that were asked for.
    """
    method = _resolved(model, sites, config, calibration)
    asked = {"floor": bool(config.floor), f"objective {config.objective}": config.objective != DEFAULT_OBJECTIVE}
    for option in (option for option, given in asked.items() if given and not METHODS[method].heeds_floors):
        heeding = ", ".join(name for name, known in METHODS.items() if known.heeds_floors)
        raise OptionError(
            f"--{option} is kept by --method {heeding} (which needs --calibration), not by {method}; leave it out"
        )
    return method


def _resolved(
    model: OnnxModel, sites: Sequence[MatMulSite], config: OptimizeConfig, calibration: Sequence[CalibrationBatch]
) -> str:
    if config.method != "auto":
        return config.method
    if config.preset or config.rank_rule is not None:  # rules look at one spectrum, for which `squeeze` needs no data
        return "squeeze"
    if not calibration:
        return "svd"
    return "fisher" if _decides(model) and _has_gradients(model.ir, sites, calibration) else "whiten"


def _decides(model: OnnxModel) -> bool:
    """Whether the answer is a class, of the text or of each token, or a score.

    Few directions of each output move it then, and gradients know which.

    The text of an embedding is in all of them, and `whiten` does nearly as well there in two thirds of the time
    (models/*/results/method.json).
    """
    try:
        head = head_of(model)
    except ModelError:  # any model can be squeezed, but not all answer in a way that is known
        return False
    return isinstance(head, ClassLogits | TokenLogits | Regression)


def _has_gradients(model: ir.Model, sites: Sequence[MatMulSite], calibration: Sequence[CalibrationBatch]) -> bool:
    """Whether `squeeze_onnx.learning` can follow what ``sites`` return to the answer, on a batch of more than one text."""
    floats = all(site.weight.dtype == ir.DataType.FLOAT for site in sites)
    several = any(all(min(array.shape) > 1 for array in batch.feeds.values()) for batch in calibration)
    products = {str(node.outputs[0].name) for site in sites for node in site.nodes}
    return floats and several and is_differentiable(model, products)
