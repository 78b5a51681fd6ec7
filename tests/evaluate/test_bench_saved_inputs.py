"""`bench` on inputs that were saved: of models that no random tokens can feed."""

from pathlib import Path

import numpy as np
import pytest

from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import DataError, ModelError, OptionError
from tests.saved_input_models import PICTURES, WEIGHT, write_classifier, write_tagger

QUICK = {"rounds": 2, "repeats": 1, "warm_up": 0, "memory": False, "threads": 1}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    np.savez(tmp_path / "pictures.npz", pixel_values=PICTURES)
    return tmp_path / "pictures.npz"


def test_pictures_are_timed_by_one_and_by_eight_and_fill_up_a_larger_batch(
    tmp_path: Path, pictures: Path, bound: list[Feeds]
) -> None:
    model = write_classifier(tmp_path / "model", WEIGHT)
    report = bench([model], BenchConfig(data=pictures, **QUICK)).to_json()  # type: ignore[arg-type]
    assert [(shape["batch_size"], shape["sequence_length"]) for shape in report["shapes"]] == [(1, None), (8, None)]
    assert report["settings"]["data"] == str(pictures)
    np.testing.assert_array_equal(bound[1]["pixel_values"], PICTURES[:8])
    bench([model], BenchConfig(data=pictures, batch_sizes=(12,), **QUICK))  # type: ignore[arg-type]
    np.testing.assert_array_equal(bound[2]["pixel_values"], np.concatenate([PICTURES, PICTURES[:2]]))


def test_a_model_exported_for_one_batch_is_timed_at_that(tmp_path: Path, pictures: Path, bound: list[Feeds]) -> None:
    model = write_classifier(tmp_path / "model", WEIGHT, batch=5)
    report = bench([model], BenchConfig(data=pictures, **QUICK)).to_json()  # type: ignore[arg-type]
    assert [shape["batch_size"] for shape in report["shapes"]] == [5]
    assert len(bound[0]["pixel_values"]) == 5


def test_an_opponent_is_built_and_timed_too(tmp_path: Path, pictures: Path) -> None:
    model = write_classifier(tmp_path / "model", WEIGHT)
    found = bench([model], BenchConfig(data=pictures, against=("int8",), **QUICK))  # type: ignore[arg-type]
    assert [len(latencies) for latencies in found.latencies] == [2, 2]


def test_without_data_it_is_said_what_is_wanted(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ModelError, match=r"has an input 'pixel_values'.*give an .npz of all inputs instead"):
        bench([write_classifier(tmp_path / "model", WEIGHT)], BenchConfig(**QUICK))  # type: ignore[arg-type]
    tagger = write_tagger(tmp_path / "tagger", 0.1)
    with pytest.raises(
        DataError, match=r"`data` .*pictures.npz holds pixel_values; the model takes attention_mask, bbox"
    ):
        bench([tagger], BenchConfig(data=pictures, **QUICK))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"`sequence_length` is for random tokens: .*pictures.npz has a length"):
        BenchConfig(data=pictures, sequence_lengths=(8,))
