"""The steps that a model goes through, how a sentence calls them, and what to do about one that breaks it."""

from collections.abc import Mapping
from dataclasses import dataclass

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.evaluate.last_look import LastLook, StepName
from squeeze_onnx.support.errors import LastLookError


@dataclass(frozen=True)
class ModelStep:
    """One step: ``what`` is done, in a word or by its option, and the ``way_out`` if that goes wrong.

    ``provider`` is the one where alone the model runs from here on, None if it runs where it did.
    """

    what: str
    way_out: str
    provider: str | None = None


Steps = Mapping[StepName, ModelStep]
"""Name → step, in the order in which they come."""


def steps_of(config: OptimizeConfig, precision: str = "fp32", *, prunes: bool = False) -> Steps:
    """Return the steps that ``config`` asks for, where weights are stored in ``precision`` and whether tokens go."""
    steps: dict[StepName, ModelStep] = {
        "squeezing": ModelStep("squeezing", "keep more with `keep`, or give more calibration text")
    }
    if prunes:
        steps["pruning"] = ModelStep("`prune_tokens`", "keep more of them with `prune_tokens`")
    if config.distill is not None:
        steps["distillation"] = ModelStep("distillation", "leave out `distill`, or give more text")
    if config.fuse is not None:
        steps["fusing"] = ModelStep(f"`fuse` {config.fuse}", f"leave out `fuse` {config.fuse}", config.fuse)
    if precision != "fp32":
        steps["rounding"] = ModelStep(f"`precision` {precision}", "take another `precision`", config.fuse)
    return steps


def refuse_broken(look: LastLook, steps: Steps, *, force: bool, finding: str = "") -> None:
    """Raise LastLookError, which names the step, if one broke the model and ``force`` does not say to have it all the same.

    ``finding`` is a sentence on what would have happened otherwise.
    """
    if look.broken is None or force:
        return
    told = look.what_broke({name: step.what for name, step in steps.items()})
    raise LastLookError(
        f"the finished model does not answer as was predicted: {told}; {finding}{steps[look.broken.name].way_out}, or have it "
        "all the same with `force_write`"
    )
