"""How much text the choice of ranks needs."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.compress.calibration_source import CalibrationConfig, load_calibration
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.held_back import held_back_of, rows_of
from squeeze_onnx.compress.text_amounts import Amount
from squeeze_onnx.compress.text_needed import ENOUGH_TO_DIFFERENTIATE, EXCESS, FEWEST_ROWS, WIDEST, text_needed
from squeeze_onnx.compress.weights import read_weight
from squeeze_onnx.data.calibration import CalibrationBatch, collect_moments
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.spectral.moments import SecondMoment
from squeeze_onnx.spectral.sampling_error import excess_error
from tests.tiny_encoder import WORDS, write_model_folder

LINES, LENGTH = 3000, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder, and more text than it needs."""
    folder = write_model_folder(tmp_path_factory.mktemp("needed") / "model")
    (folder.parent / "text.txt").write_text(text(LINES), encoding="utf-8")
    return folder


def text(lines: int) -> str:
    drawn = np.random.default_rng(0).choice(WORDS, (lines, LENGTH))
    return "\n".join(" ".join(line) for line in drawn) + "\n"


@pytest.fixture(scope="module")
def encoder(folder: Path) -> OnnxModel:
    return load_model(folder)


def read(encoder: OnnxModel, folder: Path, amount: Amount) -> Sequence[CalibrationBatch]:
    return load_calibration(encoder, CalibrationConfig(str(folder.parent / "text.txt")), amount)


def test_a_cut_on_so_much_text_is_hardly_worse_on_other_text(encoder: OnnxModel, folder: Path) -> None:
    sites = Context(encoder).sites
    needed = text_needed(encoder, sites, partial(read, encoder, folder), Amount(LINES), "cpu").tokens
    assert needed is not None
    batches = read(encoder, folder, Amount(LINES, 2 * needed))
    one, other = (collect_moments(encoder.ir, sites, part) for part in (batches[0::2], batches[1::2]))
    excesses = []
    for site in sites:
        met = one[site.name], other[site.name]
        if site.layer == 1 and all(isinstance(moment, SecondMoment) for moment in met):
            rank = site.break_even_rank // 2
            excesses.append(excess_error(read_weight(site), *met, rank))  # type: ignore[arg-type]
    assert EXCESS / 3 < np.mean(excesses) < 3 * EXCESS


def test_too_little_text_for_two_halves_is_all_read(encoder: OnnxModel, folder: Path) -> None:
    few = read(encoder, folder, Amount(4))
    assert text_needed(encoder, Context(encoder).sites, lambda amount: few, Amount(1024), "cpu") == Amount(1024)


def test_nothing_to_cut_is_nothing_to_ask(encoder: OnnxModel) -> None:
    def never(amount: Amount) -> Sequence[CalibrationBatch]:
        raise AssertionError(amount)

    assert text_needed(encoder, (), never, Amount(1024), "cpu") == Amount(1024)


def test_some_texts_are_read_in_any_case(encoder: OnnxModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squeeze_onnx.compress.text_needed.EXCESS", 1e9)
    sites = Context(encoder).sites
    needed = text_needed(encoder, sites, partial(read, encoder, folder), Amount(LINES), "cpu")
    assert needed == Amount(
        LINES, WIDEST * max(site.in_features for site in sites if site.layer is not None), FEWEST_ROWS
    )
    assert rows_of(read(encoder, folder, needed)) == FEWEST_ROWS


@pytest.mark.parametrize(
    "config",
    [
        OptimizeConfig(keep=0.5, method="svd"),
        OptimizeConfig(keep=0.5, method="soco"),
    ],
    ids=lambda config: str(config.method),
)
def test_what_learns_spectra_or_looks_at_no_text_reads_what_there_is(
    encoder: OnnxModel, folder: Path, config: OptimizeConfig
) -> None:
    source = CalibrationConfig(str(folder.parent / "text.txt"))
    assert Context(encoder, config).with_text(source).batches.needed is None  # type: ignore[attr-defined]


def test_distillation_learns_on_more_than_ranks_are_chosen_on(
    encoder: OnnxModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squeeze_onnx.compress.text_needed.EXCESS", 1.0)
    source = CalibrationConfig(str(folder.parent / "text.txt"))
    context = Context(encoder, OptimizeConfig(keep=0.5, distill=4)).with_text(source)
    assert rows_of(context.batches) + rows_of(held_back_of(context.batches)) == LINES
    assert rows_of(context.weighed) < rows_of(context.batches) / 2
    assert context.regressed == context.weighed
    assert context.differentiated == context.weighed  # half of them would be too few answers
    assert {*map(id, context.weighed)} <= {*map(id, context.fitted)}
    said = Context(encoder, OptimizeConfig(keep=0.5, distill=4)).with_text(replace(source, rows=2000))
    assert (said.weighed, list(said.regressed)) == (said.batches, list(said.fitted))


def test_gradients_are_taken_of_half_of_what_is_needed_and_of_all_that_is_said(
    encoder: OnnxModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("squeeze_onnx.compress.text_needed.EXCESS", 1e-3)
    source = CalibrationConfig(str(folder.parent / "text.txt"))
    context = Context(encoder, OptimizeConfig(keep=0.5)).with_text(source)
    assert rows_of(context.weighed) >= 2 * ENOUGH_TO_DIFFERENTIATE
    assert list(context.differentiated) == list(context.weighed[1::2])
    said = Context(encoder, OptimizeConfig(keep=0.5)).with_text(replace(source, rows=600))
    assert list(said.differentiated) == list(said.weighed)


@pytest.mark.parametrize("rows", [None, 300])
def test_the_report_says_how_much_was_read_and_why(folder: Path, tmp_path: Path, rows: int | None) -> None:
    said = () if rows is None else ("--calibration-rows", str(rows))
    text = ("--calibration", str(folder.parent / "text.txt"), *said)
    command = (sys.executable, "-m", "squeeze_onnx", "optimize", str(folder), "-o", str(tmp_path / "out"), *text)
    done = subprocess.run((*command, "--keep", "0.7"), check=True, capture_output=True, text=True)
    entry = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["calibration"]
    line = f"Calibrated on {entry['rows']} texts: the choice of ranks needs {entry['tokens_needed']} tokens"
    if rows is not None:
        assert (entry["rows"], entry["tokens_needed"]) == (rows, None)
        return
    assert FEWEST_ROWS <= entry["rows"] < 1024
    assert line.replace(" ", "") in done.stdout.replace(",", "").replace(" ", "").replace("\n", "")
