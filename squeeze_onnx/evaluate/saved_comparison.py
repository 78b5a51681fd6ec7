"""Comparing two models on inputs that somebody saved: pictures, sound, boxes beside words, whatever no tokenizer makes."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.saved_inputs import SavedInputs, read_saved_inputs
from squeeze_onnx.evaluate.answer_heads import Head, comparable, fidelity_of
from squeeze_onnx.evaluate.bootstrap import speedup_interval
from squeeze_onnx.evaluate.embedding_entry import embedding_entry
from squeeze_onnx.evaluate.evaluation import Comparison, Evaluation, Subject
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.runtime.latency import measure_latency
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.errors import ModelError, OptionError
from squeeze_onnx.support.progress import Track, silent


def read_inputs_of_both(config: ValidateConfig, sessions: tuple[Session, Session]) -> SavedInputs:
    """Read ``config.data``, an .npz that holds what both models take, as many rows as ``config.limit`` allows.

    Raises DataError as `read_saved_inputs` does, and OptionError for what is asked beyond the likeness of answers.
    """
    path = config.saved_inputs
    assert path is not None, "asked by whoever looked"
    asked = {
        "max_drop": config.max_drop is not None,
        "metrics": bool(config.metrics),
        "columns": config.columns is not None,
        "robustness": config.robustness,
        "tokenizer": config.tokenizer is not None,
        "prompt": config.prompt is not None,
    }
    for option in (name for name, given in asked.items() if given):
        raise OptionError(f"{path} holds inputs of models, neither texts nor labels: leave out `{option}`")
    saved, _ = (read_saved_inputs(path, session.inputs, "`data`") for session in sessions)
    if config.limit is None:
        return saved
    return SavedInputs({name: array[: config.limit] for name, array in saved.arrays.items()}, saved.batch)


def compare_on(
    saved: SavedInputs,
    subjects: tuple[Subject, Subject],
    sessions: tuple[Session, Session],
    config: ValidateConfig,
    track: Track = silent,
) -> Comparison:
    """Run both models on ``saved`` and compare their answers; latency is that of the row in the middle.

    Raises ModelError if one of them does not run, or returns NaN, or nothing is known of its answers, OptionError if these are of
    different kinds.
    """
    heads = tuple(
        choose_head(session, subject.config, None) for session, subject in zip(sessions, subjects, strict=True)
    )
    if not (isinstance(heads[0], type(heads[1])) or isinstance(heads[1], type(heads[0]))):
        raise OptionError(
            f"{sessions[0].label} gives {heads[0].kind} and {sessions[1].label} {heads[1].kind}; these cannot be compared"
        )
    whole = len(saved) if saved.batch is None else max(len(saved) // saved.batch * saved.batch, 1)
    batches = saved.cut(np.arange(whole), config.batch_size)
    answers = tuple(_answers(session, head, batches, track) for session, head in zip(sessions, heads, strict=True))
    if not comparable(heads, answers):
        raise OptionError(
            f"{sessions[0].label} answers with {answers[0].shape[1]} numbers and {sessions[1].label} with "
            f"{answers[1].shape[1]}; these cannot be compared"
        )
    single = saved.cut(np.array([len(saved) // 2]), 1)[0]
    latencies = measure_latency(
        [partial(session.run, None, single.feeds) for session in sessions], rounds=config.latency_rounds
    )
    baseline, candidate = (
        Evaluation(head.kind, head.output, embedding_entry(head), {}, latency)
        for head, latency in zip(heads, latencies, strict=True)
    )
    return Comparison(
        provider=sessions[0].provider,
        baseline=baseline,
        candidate=candidate,
        drop_points={},
        drops={},
        sanity=None,
        fidelity=fidelity_of(heads, answers),
        speedup=speedup_interval(latencies[0].runs_ms, latencies[1].runs_ms, seed=config.seed),
        latency_batch=single.sequences,
        latency_tokens=1 if single.mask is None else single.mask.shape[1],
    )


def _answers(session: Session, head: Head, batches: Sequence[CalibrationBatch], track: Track) -> np.ndarray:
    """Return the answers of one model, (answers, features)."""
    found = []
    for batch in track(batches, f"Running {session.label} on {session.provider}"):
        (output,) = session.run((head.output,), batch.feeds)
        found.append(head.answers(output, _mask(batch, output)))
    answers = np.concatenate(found)
    if not np.all(np.isfinite(answers)):
        raise ModelError(f"{session.label} returns NaN or infinity in {head.output!r} on {session.provider}")
    return answers


def _mask(batch: CalibrationBatch, output: np.ndarray) -> np.ndarray:
    """Return which rows of ``output`` count, (samples, places): those that the batch says, or all."""
    shape = output.shape[:2] if output.ndim > 2 else (len(output), 1)
    counted = batch.counted(shape) if output.ndim > 2 else None
    return np.ones(shape, np.int64) if counted is None else np.asarray(counted).astype(np.int64)
