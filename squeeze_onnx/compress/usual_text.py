"""How much text is read unless it is said."""

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE, TO_DISTILL, TO_MAP, Amount


def usual_text(config: OptimizeConfig) -> Amount:
    """Return how much text is read unless it is said: more where weights learn on it."""
    learns = config.distill is not None or (config.method in METHODS and METHODS[config.method].learns)
    if learns:
        return TO_DISTILL
    return TO_CALIBRATE if config.output_dimensions is None else TO_MAP
