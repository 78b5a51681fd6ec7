from pathlib import Path

from squeeze_onnx.data.companions import COMPANIONS, copy_companions
from tests.folders import snapshot


def test_what_a_loader_needs_is_copied_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name in (*COMPANIONS, "model.onnx", "model.onnx.data", "notes.txt", "1_Pooling/notes.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    target.mkdir()
    copy_companions(source, target)
    assert {name: content for name, content in snapshot(target).items() if content is not None} == {
        name: name.encode() for name in COMPANIONS
    }


def test_a_folder_without_companions_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    copy_companions(tmp_path / "source", tmp_path / "target")
    assert snapshot(tmp_path / "target") == {}


def test_links_are_copied_as_the_files_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("{}")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "tokenizer.json").symlink_to("../blob")
    (tmp_path / "target").mkdir()
    copy_companions(tmp_path / "source", tmp_path / "target")
    assert not (tmp_path / "target" / "tokenizer.json").is_symlink()
    assert (tmp_path / "target" / "tokenizer.json").read_text() == "{}"
