"""A run on a model with a part of its vocabulary: it lies in a folder of its own while the run lasts, called as it was given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from squeeze_onnx.compress.calibration_source import CalibrationConfig, GivenFeeds, is_archive
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.kept_vocabulary import KeptVocabulary, keep_vocabulary
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.data.scripts import LANGUAGES
from squeeze_onnx.graph.io.model import load_model, refuse_overwriting_input
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.given_names import called, given_name
from squeeze_onnx.support.stopwatch import Stopwatch

_FEW = 0.01
"""Of the tokens of a text: names that it met for the first time."""


@contextmanager
def with_kept_words(
    path: str | Path, out: Path, config: OptimizeConfig, calibration: CalibrationConfig | None, clock: Stopwatch
) -> Iterator[tuple[Path, KeptVocabulary | None]]:
    """Give the model at ``path`` with the vocabulary that ``config`` keeps, and what that came to; itself and None without.

    Raises what `keep_vocabulary` raises, OptionError for data that goes around the tokenizer, and OutputError if the folder
    ``out`` would replace the model.
    """
    if not config.keep_vocabulary:
        yield Path(path), None
        return
    if calibration is not None and (isinstance(calibration, GivenFeeds) or is_archive(calibration)):
        raise OptionError("`keep_vocabulary` gives tokens other numbers than saved inputs have: calibrate on texts")
    refuse_tokenizer(None if calibration is None else calibration.tokenizer)
    repository = find_repository(path)
    refuse_overwriting_input(load_model(repository.model_path), out)
    with TemporaryDirectory(prefix="squeeze-onnx-") as name:
        folder = Path(name)
        with clock.stage("vocabulary"):
            kept = keep_vocabulary(path, config, calibration, folder)
        with called(given_name(Path(path)) or str(path), folder, address=str(repository.root)):
            yield repository.place_in(folder), kept


def refuse_tokenizer(tokenizer: Path | None) -> None:
    """Raise OptionError for a ``tokenizer`` that lies elsewhere: the one beside the model is rewritten."""
    if tokenizer is not None:
        raise OptionError(
            "`keep_vocabulary` rewrites the tokenizer beside the model: put `tokenizer` there, and leave it out"
        )


def words_notes(words: KeptVocabulary | None) -> list[str]:
    """Say what was kept by a language, and which files are gone."""
    notes = []
    if words is not None and words.scripts:
        named = ", ".join(source for source in words.sources if source in LANGUAGES)
        notes.append(
            f"`keep_vocabulary` {named} kept all tokens of the script {' and '.join(words.scripts)}, of whatever language: texts "
            "keep fewer"
        )
    if words is not None and (words.gone or 0) > _FEW:
        notes.append(
            f"{words.gone:.1%} of the tokens of the calibration text are no longer in the vocabulary, and were read as smaller "
            "ones or as unknown: name that text in `keep_vocabulary` too, or calibrate on a text that is named there"
        )
    if words is not None and words.left_out:
        notes.append(
            f"{', '.join(words.left_out)} of the model numbers tokens as they were and is left out; tokenizer.json has the new "
            "numbers"
        )
    return notes
