"""How a run begins: the model and the text are opened, the model is surveyed, and what a size leaves open is chosen."""

from pathlib import Path

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.efforts import effort_of, with_effort
from squeeze_onnx.compress.embedding_output.stage import refuse_no_embedder, refuse_stored
from squeeze_onnx.compress.lowering import planned_precision
from squeeze_onnx.compress.preparing import prepare, refuse_idle_fusing, refuse_unrunnable, stored_alike
from squeeze_onnx.compress.size_goal import SizeGoal, meet_size
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.compress.survey_cache import survey_of
from squeeze_onnx.compress.tokens.stage import refuse_unprunable
from squeeze_onnx.data.general_text import GENERAL_PREFIX, general_source
from squeeze_onnx.data.general_text import LANGUAGES as WITH_TEXTS
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.scripts import LANGUAGES
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.runtime.providers import resolve_provider
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.progress import silent
from squeeze_onnx.workflows.given import Given


def settled(
    path: str | Path, config: OptimizeConfig, calibration: CalibrationConfig | None, *, gated: bool = False
) -> tuple[OptimizeConfig, CalibrationConfig | None]:
    """Return both with what a goal leaves open chosen; without text it reads those
    that vocabulary is kept for, or the general sentences of this package."""
    if effort_of(config) is not None and calibration is None:
        calibration = CalibrationConfig(_usual_source(path, config), seed=config.seed)
    return with_effort(config, calibration, gated=gated)


def _usual_source(path: str | Path, config: OptimizeConfig) -> str:
    """Return the first texts that vocabulary is kept for, or general ones, of their language if there are any."""
    for source in config.keep_vocabulary:
        if source not in LANGUAGES:
            return source
        if source in WITH_TEXTS:
            return f"{GENERAL_PREFIX}{source}"
    return general_source(read_settings(find_repository(path).model_path, config.asked).vocabulary_size)


def text_notes(calibration: CalibrationConfig | None) -> list[str]:
    """Say that the text was not one of the user's."""
    if calibration is None or not calibration.source.startswith(GENERAL_PREFIX):
        return []
    return [
        f"Calibrated on the general sentences of this package ({calibration.source}): sentences of the kind that the model "
        "reads in use are better; give them with `calibration` FILE."
    ]


def opened(path: str | Path, config: OptimizeConfig, calibration: CalibrationConfig | None, given: Given) -> Context:
    """Open the model at ``path`` and the text; raises what `optimize` raises of them, and of settings that contradict."""
    plan = given.get("plan")
    if plan is not None and given.get("cache") is not None:
        raise OptionError("`cache` keeps what a new plan is made from; leave it out with `plan`")
    if plan is not None and config.byte_limit is not None:
        raise OptionError("`plan` already says what becomes of each site; leave out `max_size`")
    planned_precision(plan, config)  # refused before anything takes its time
    # Without data nothing is run, and a machine without onnxruntime will do.
    if calibration is not None or config.provider != "cpu":
        resolve_provider(config.provider)
    model = load_model(find_repository(path).model_path)
    config = stored_alike(model.ir, config, plan)
    prepare(model.ir, config)
    refuse_idle_fusing(model, config)
    if calibration is not None:
        refuse_unrunnable(model, config)
    track, looked_at = given.get("track", silent), calibration is not None
    context = Context(model, config, (), plan, given.get("checkpoint"), track=track, looked_at=looked_at)
    refuse_stored(context)
    context = context.with_text(calibration)
    refuse_no_embedder(context)
    refuse_unprunable(context)
    return context


def surveyed(context: Context, cache: Path | None) -> tuple[Context, Survey, SizeGoal | None]:
    """Survey the model, and choose what a size leaves open; see `meet_size`."""
    survey = survey_of(context, cache)
    return (context, survey, None) if context.config.byte_limit is None else meet_size(context, survey)
