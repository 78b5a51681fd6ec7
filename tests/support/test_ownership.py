"""What counts as written by this program, and what does not."""

import json
from pathlib import Path

import pytest

from squeeze_onnx.support.ownership import somebody_elses


def write(path: Path, **document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "document", "ours"),
    [
        ("score.json", {"format": "squeeze-onnx/validation/1"}, True),
        ("score.json", {"format": "another/1"}, False),
        ("score.txt", {"format": "squeeze-onnx/validation/1"}, False),
        ("report.json", {"format": "squeeze-onnx/report/1", "written": []}, True),
        ("notes.json", ["squeeze-onnx/"], False),
    ],
)
def test_a_json_file_says_by_its_format_whose_it_is(name: str, document: object, ours: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(document), encoding="utf-8")
    assert somebody_elses(tmp_path) == ([] if ours else [name])


def test_a_report_vouches_for_what_it_lists_and_for_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "report.json", format="squeeze-onnx/report/1", written=["model.onnx"])
    for name in ("model.onnx", "mine.onnx"):
        (tmp_path / name).write_bytes(b"weights")
    assert somebody_elses(tmp_path) == ["mine.onnx"]


def test_a_link_to_a_file_of_ours_is_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write(tmp_path / "score.json", format="squeeze-onnx/validation/1")
    (folder / "score.json").symlink_to(tmp_path / "score.json")
    assert somebody_elses(folder) == ["score.json"]
