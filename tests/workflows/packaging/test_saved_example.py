"""Bundles of models that read other inputs than text."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.support.errors import BundleError, DataError, ModelError, OptionError
from squeeze_onnx.workflows.packaging.bundle import PackageConfig, package
from squeeze_onnx.workflows.packaging.manifest import FileEntry
from squeeze_onnx.workflows.packaging.verification import verify
from tests.saved_input_models import PICTURES, WEIGHT, write_classifier, write_tagger


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    np.savez(tmp_path / "pictures.npz", pixel_values=PICTURES)
    return tmp_path / "pictures.npz"


@pytest.mark.parametrize("batch", ["batch", 5], ids=["any batch", "batches of five"])
def test_the_bundle_answers_its_example_and_other_inputs(tmp_path: Path, pictures: Path, batch: int | str) -> None:
    model = write_classifier(tmp_path / "model", WEIGHT, batch)
    (model / "preprocessor_config.json").write_text('{"do_resize": true}')
    bundle = package(model, tmp_path / "bundle", PackageConfig(data=pictures, form="both"))
    assert {"run.py", "example.npz", "preprocessor_config.json"} <= set(bundle.manifest.files)
    count = 1 if batch == "batch" else 5
    expected = PICTURES[:1].reshape(1, -1) @ WEIGHT
    (answer, same) = verify(bundle.path).answers
    np.testing.assert_allclose(answer.values.reshape(count, -1)[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(same.values, answer.values, rtol=1e-5)
    said = json.loads(subprocess.run([sys.executable, bundle.path / "run.py"], capture_output=True, check=True).stdout)
    np.testing.assert_allclose(said["logits"][0], expected[0], rtol=1e-5)
    np.savez(tmp_path / "more.npz", pixel_values=PICTURES[5:])
    subprocess.run(
        [sys.executable, bundle.path / "run.py", tmp_path / "more.npz", tmp_path / "out.npz"], check=True, stdout=-3
    )
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["logits"], PICTURES[5:].reshape(5, -1) @ WEIGHT, rtol=1e-5)


def test_equal_input_gives_equal_bytes_and_a_changed_example_is_refused(tmp_path: Path, pictures: Path) -> None:
    model = write_tagger(tmp_path / "model", 0.5)
    boxes = np.arange(48).reshape(2, 6, 4)
    np.savez(tmp_path / "boxes.npz", bbox=boxes, attention_mask=np.ones((2, 6), np.int64))
    first, second = (package(model, tmp_path / out, PackageConfig(data=tmp_path / "boxes.npz")) for out in ("a", "b"))
    assert first.sha256 == second.sha256
    manifest = tmp_path / "a" / "manifest.json"
    document = json.loads(manifest.read_text())
    (tmp_path / "a" / "example.npz").write_bytes(pictures.read_bytes())
    with pytest.raises(BundleError, match=r"example.npz has \d+ bytes, not"):
        verify(tmp_path / "a")
    document["files"]["example.npz"] = vars(FileEntry.of(pictures))
    manifest.write_text(json.dumps(document))
    with pytest.raises(DataError, match="holds pixel_values; the model takes attention_mask, bbox"):
        verify(tmp_path / "a")
    document["inputs"]["example"] = "../elsewhere.npz"
    manifest.write_text(json.dumps(document))
    with pytest.raises(BundleError, match="names no example among its files"):
        verify(tmp_path / "a")


def test_what_is_for_text_is_refused_beside_saved_inputs(pictures: Path) -> None:
    with pytest.raises(OptionError, match=r"`pooling` is for text, and .*pictures.npz holds inputs"):
        PackageConfig(data=pictures, pooling="mean")


def test_nothing_is_left_of_a_model_that_answers_with_nan_or_of_other_inputs(tmp_path: Path, pictures: Path) -> None:
    broken = write_classifier(tmp_path / "broken", np.full_like(WEIGHT, np.nan))
    with pytest.raises(ModelError, match="answers the example with NaN, infinity or nothing"):
        package(broken, tmp_path / "bundle", PackageConfig(data=pictures))
    with pytest.raises(DataError, match="the model takes attention_mask, bbox"):
        package(write_tagger(tmp_path / "tagger", 0.5), tmp_path / "bundle", PackageConfig(data=pictures))
    with pytest.raises(ModelError, match=r"an input 'pixel_values'; .*: give an .npz of all inputs instead"):
        package(write_classifier(tmp_path / "whole", WEIGHT), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
