"""The stages in order, from file to folder: load → squeeze → finish → save → report. The only module that sees them all."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from squeeze_onnx.compress.calibration_entry import calibration_entry
from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.eligibility import choose_eligible, is_excluded, refuse_vain_include
from squeeze_onnx.compress.forecast import frontier_for
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.preparing import prepare
from squeeze_onnx.compress.site_choice import find_sites_of, nothing_to_do
from squeeze_onnx.compress.spectra import measure_spectra
from squeeze_onnx.compress.squeezing import squeeze_surveyed
from squeeze_onnx.compress.survey_cache import check_cache
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.io.model import load_model, refuse_overwriting_input
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.graph.io.spilling import spill_file
from squeeze_onnx.graph.match.copies import count_copies
from squeeze_onnx.report.json import analysis_report
from squeeze_onnx.runtime.sessions import session_threads
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_folder
from squeeze_onnx.support.stopwatch import Stopwatch
from squeeze_onnx.workflows.decoder_cache import cache_entry
from squeeze_onnx.workflows.explicit_command import goal_entry
from squeeze_onnx.workflows.given import Given
from squeeze_onnx.workflows.kept_words import with_kept_words, words_notes
from squeeze_onnx.workflows.opening import opened, settled, surveyed, text_notes
from squeeze_onnx.workflows.result_folder import check_written, watch_for, write_folder, write_report


def analyze(path: str | Path, config: AnalyzeConfig | None = None, track: Track = silent) -> dict[str, Any]:
    """Hold the spectrum of every site of the model at ``path`` against pure noise.

    Returns the JSON report. Raises ModelError for a file that is not a usable model or has no site at all.
    """
    config = config or AnalyzeConfig()
    clock = Stopwatch()
    with clock.stage("load"):
        model = load_model(find_repository(path).model_path)
        copies = count_copies(model.ir)
        prepare(model.ir, config)
    with clock.stage("sites"):
        found = find_sites_of(model.ir, config)
        eligibility = choose_eligible(found.sites, config.include, config.exclude)
        if not found.sites:
            raise nothing_to_do(model, found.skipped)
        refuse_vain_include(config.include, found.sites, eligibility, model.path)
    with clock.stage("spectra"):
        looked_at = [site for site in found.sites if not is_excluded(site, config.exclude)]
        spectra = measure_spectra(looked_at, METHODS["squeeze"].weighting_of({}), config, track)
    report = analysis_report(
        model=model.path,
        config=config,
        spectra=spectra,
        eligibility=replace(eligibility, left_out=found.skipped + eligibility.left_out),
        size=measure_size(model),
        timing=clock.seconds,
    )
    report["size"] |= {"duplicate_bytes": copies.bytes, "duplicates": copies.tensors}
    report["cache"] = cache_entry(model.ir)
    return report


def optimize(
    path: str | Path, out: str | Path, config: OptimizeConfig | None = None, **given: Unpack[Given]
) -> dict[str, Any]:
    """Squeeze the model at ``path`` into the folder ``out``, which appears whole or not at all.

    Returns the content of ``report.json``. What a goal left open is chosen: see `squeeze_onnx.compress.efforts`.

    Raises ModelError, DataError, OptionError or OutputError, and LastLookError if the result answers far from what was predicted.
    """
    config, calibration = settled(path, config or OptimizeConfig(), given.get("calibration"))
    plan, checkpoint, cache = given.get("plan"), given.get("checkpoint"), given.get("cache")
    out = Path(out)
    if cache is not None:
        check_cache(cache, out)
    clock = Stopwatch()
    with session_threads(config.threads), with_kept_words(path, out, config, calibration, clock) as (dense, words):
        with clock.stage("load"):
            context = replace(opened(dense, config, calibration, given), words=words)
            refuse_overwriting_input(context.dense, out)
        with (
            staged_folder(out, force=given.get("force", False)) as folder,
            spill_file(folder) as store,
            reserved(checkpoint.path) if checkpoint else nullcontext(),
        ):
            context, survey, goal = surveyed(replace(context, store=store), cache)
            frontier = frontier_for(context, survey) if plan is None else None
            watch = watch_for(context)
            result = squeeze_surveyed(context, survey, watch)
            report = write_folder(context, result, folder, clock, watch)
            report |= check_written(context, folder, report, watch, survey, clock=clock)
            report |= {
                "calibration": None
                if calibration is None
                else calibration_entry(calibration, context.batches, context.weighed),
                "notes": [*text_notes(calibration), *words_notes(words), *report["notes"]],
                "score": None,
                "frontier": frontier,
                "goal": goal_entry(context, calibration, (Path(path), out), goal),
                "timing": {**report["timing"], **clock.seconds},
            }
            write_report(report, folder)
    if checkpoint is not None:
        checkpoint.path.unlink(missing_ok=True)  # its result is written
    return report
