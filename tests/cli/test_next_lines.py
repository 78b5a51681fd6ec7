"""What is said to come next can be pasted: its options are known, its paths quoted, and nothing that must fail is said."""

import shlex
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.cli.next_lines import (
    READING,
    after_bench,
    after_optimization,
    after_validation,
    after_verification,
)
from squeeze_onnx.cli.optimize import optimize
from squeeze_onnx.cli.package import package
from squeeze_onnx.cli.validate import validate
from squeeze_onnx.runtime.quantizers import quantize_int8
from tests.conftest import RunCli
from tests.saved_input_models import PICTURES, WEIGHT
from tests.saved_input_models import write_classifier as write_picture_classifier
from tests.text_models import write_classifier
from tests.tiny_encoder import encoder_model, weights_of, with_weights, write_model_folder

SAID = {"tokenizer": "a b", "max_tokens": 24, "pooling": "cls", "prompt": "query: ", "answer": "logits"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_classifier(tmp_path / "my model", {"good": (0, 2), "bad": (2, 0)})


def words_of(line: str | None) -> list[str]:
    assert line is not None
    assert line.startswith("Next: ")
    return shlex.split(line)[1:]


def next_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the words of the line that comes last, which a narrow terminal breaks."""
    assert (done.returncode, done.stderr) == (0, "")
    return words_of("Next: " + done.stdout.replace("\n", " ").partition("Next: ")[2])


def test_what_says_how_a_model_is_read_is_an_option_of_every_next_command(model: Path) -> None:
    assert set(SAID) == set(READING)
    for following, line in (
        (validate, after_optimization(model, model, SAID)),
        (package, after_validation(model, SAID)),
    ):
        given = {word for word in words_of(line) if word.startswith("--")}
        assert given == {"--tokenizer", "--max-length", "--pooling", "--prompt", "--answer"}
        for command in (following, optimize):
            assert given <= {option for parameter in command.params for option in parameter.opts}


def test_a_model_that_reads_saved_inputs_is_packaged_with_them_and_one_that_reads_nothing_is_not(
    tmp_path: Path,
) -> None:
    model = write_model_folder(tmp_path / "model")
    (model / "tokenizer.json").unlink()
    assert words_of(after_validation(model, {"data": Path("in.npz")}))[-2:] == ["--data", "in.npz"]
    assert after_validation(model, {"data": None}) is None
    assert after_validation(model, {"data": None, "tokenizer": "t", "pooling": "none"}) is None


def test_a_model_that_answers_by_a_span_is_not_asked_texts_alone(call_cli: RunCli, tmp_path: Path) -> None:
    reader = write_model_folder(tmp_path / "reader", encoder_model(reader=True))
    assert words_of(after_optimization(reader, tmp_path / "out", {}))[1] == "bench"
    rows = after_optimization(reader, tmp_path / "out", {}, "--data", "squad.jsonl")
    assert words_of(rows)[1:2] + words_of(rows)[-2:] == ["validate", "--data", "squad.jsonl"]
    assert words_of(after_validation(reader, {"data": Path("squad.jsonl")}))[1] == "package"
    assert words_of(after_validation(reader, {"data": Path("in.npz")}))[-2:] == ["--data", "in.npz"]
    done = call_cli("validate", reader, reader)
    assert done.returncode == 2
    assert "answers questions by a span of their context" in done.stderr
    assert "--data FILE with question, context and answers scores it" in done.stderr


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    np.savez(tmp_path / "pictures.npz", pixel_values=PICTURES)
    return write_picture_classifier(tmp_path / "pictures", WEIGHT)


def test_a_model_whose_weights_are_not_eligible_by_themselves_is_squeezed_with_their_role(
    call_cli: RunCli, pictures: Path, tmp_path: Path
) -> None:
    """It takes no text either: what is calibrated on saved inputs is timed on these, and without any nothing is said."""
    saved = tmp_path / "pictures.npz"
    first = next_of(call_cli("analyze", pictures))
    assert first == words_of(after_bench([pictures]))
    assert first[-2:] == ["--include", "classifier"]
    following = next_of(call_cli(*first[1:], "--calibration", saved))
    assert (following[1], following[-2:]) == ("bench", ["--data", str(saved)])
    assert call_cli(*following[1:], "--rounds", 1, "--no-memory").returncode == 0
    assert after_optimization(pictures, pictures, {}) is None
    assert after_validation(pictures, {"tokenizer": "t"}) is None
    assert after_bench([pictures, pictures]) is None


def test_what_a_model_was_taken_as_is_said_again(call_cli: RunCli, tmp_path: Path) -> None:
    model = write_model_folder(tmp_path / "float")
    following = next_of(call_cli("analyze", model, "--exclude", "query", "--include", "embedding"))
    assert following[-4:] == ["--include", "embedding", "--exclude", "query"]
    quantized = write_model_folder(tmp_path / "integers")
    quantize_int8(model / "model.onnx", quantized / "model.onnx")
    assert words_of(after_bench([quantized]))[-1] == "--dequantize"


def test_a_model_whose_answer_is_of_no_kind_that_is_known_is_timed(tmp_path: Path) -> None:
    proto = encoder_model(tagger=True)
    model = write_model_folder(tmp_path / "model", proto)
    assert words_of(after_optimization(model, model, {}))[1] == "validate"
    for node in proto.graph.node:
        node.output[:] = ["pooler_output" if name == "logits" else name for name in node.output]
    proto.graph.output[0].name = "pooler_output"
    del proto.graph.output[0].type.tensor_type.shape.dim[1]
    onnx.save(proto, model / "model.onnx")
    assert words_of(after_optimization(model, model, {}))[1] == "bench"
    assert words_of(after_optimization(model, model, {"answer": "pooler_output"}))[1] == "validate"
    assert after_bench([model, model]) is None


def test_two_models_that_answer_by_a_span_are_not_scored_on_texts_alone(tmp_path: Path) -> None:
    reader = write_model_folder(tmp_path / "reader", encoder_model(reader=True))
    assert after_bench([reader, reader]) is None


def test_a_bundle_of_saved_inputs_is_asked_for_its_example(tmp_path: Path) -> None:
    place = tmp_path / "my bundle"
    place.mkdir()
    assert words_of(after_verification(place, place, ["a text"])) == ["python", str(place / "run.py"), "a text"]
    assert words_of(after_verification(place, place, [])) == ["python", str(place / "run.py")]


def test_from_a_packaged_model_to_an_unpacked_bundle(call_cli: RunCli, model: Path, tmp_path: Path) -> None:
    done = call_cli("package", model, "-o", tmp_path / "my bundle.zip", "--max-length", 24, "--answer", "logits")
    for _ in range(2):
        done = call_cli(*next_of(done)[1:])
    assert (tmp_path / "my bundle-unpacked" / "run.py").is_file()


def test_what_is_wrong_with_a_bundle_is_said_of_the_model_that_people_know(call_cli: RunCli, tmp_path: Path) -> None:
    broken = encoder_model(classifier=True)
    weights = weights_of(broken)["classifier.weight"] * float("nan")
    folder = write_model_folder(tmp_path / "broken", with_weights(broken, {"classifier.weight": weights}))
    for bundle in ("b", "b.zip"):
        done = call_cli("package", folder, "-o", tmp_path / bundle)
        assert f"error: {folder / 'model.onnx'} returns NaN or infinity" in done.stderr
        assert (done.returncode, (tmp_path / bundle).exists()) == (2, False)
