"""What judges distillation is new to all that learns before it: a start that knows the answers would beat all that follows."""

from collections.abc import Sequence

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.learning.training_loop import DistillConfig, batches_to_learn_on


def distillation_of(config: OptimizeConfig) -> DistillConfig:
    """Return how long and on which share of the text the distillation that ``config`` asks for learns."""
    steps = None if config.distill == "auto" else config.distill
    return DistillConfig(steps=steps, block_share=config.distill_layers, seed=config.seed)


def text_to_learn_on(calibration: Sequence[CalibrationBatch], config: OptimizeConfig) -> Sequence[CalibrationBatch]:
    """Return what of ``calibration`` weights may learn on: all of it, or what ``config.distill`` does not hold out.

    Raises OptionError if nothing would be left.
    """
    return batches_to_learn_on(calibration, distillation_of(config)) if config.distill else calibration
