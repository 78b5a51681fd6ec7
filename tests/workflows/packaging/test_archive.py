import os
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.support.errors import BundleError
from squeeze_onnx.workflows.packaging.archive import is_archive, unpack, write_archive
from squeeze_onnx.workflows.packaging.manifest import check_name
from tests.folders import snapshot
from tests.workflows.packaging.archives import archive_of, link


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder with three files, one of them deeper."""
    folder = tmp_path / "files"
    (folder / "data").mkdir(parents=True)
    for name in ("manifest.json", "a.txt", "data/weights.bin"):
        (folder / name).write_bytes(name.encode() * 100)
    return folder


def test_what_is_packed_comes_out_again(files: Path, tmp_path: Path) -> None:
    write_archive(files, tmp_path / "b.zip")
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "b.zip", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(files)


def test_equal_files_give_equal_bytes_whenever_and_however_they_were_written(files: Path, tmp_path: Path) -> None:
    write_archive(files, tmp_path / "first.zip")
    for path in sorted(files.rglob("*"), reverse=True):
        if path.is_file():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
            path.chmod(0o600)
            os.utime(path, (0, 1_700_000_000))
    write_archive(files, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert archive.namelist() == ["manifest.json", "a.txt", "data/weights.bin"]


@pytest.mark.parametrize(
    ("name", "expected"), [("b.zip", True), ("b.ZIP", True), ("b", False), ("b.zip.d", False)], ids=str
)
def test_the_suffix_says_what_a_bundle_is(name: str, expected: bool) -> None:
    assert is_archive(Path(name)) is expected


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "./evil", "a//evil", "a\\..\\evil", "C:evil", "evil/"],
    ids=["..", "deeper ..", "absolute", ".", "//", "backslash", "drive", "folder"],
)
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    archive_of(tmp_path / "b.zip", ("good", b"good"), (name, b"evil"))
    before = snapshot(tmp_path)
    with pytest.raises(BundleError, match="do not trust it"):
        unpack(tmp_path / "b.zip", tmp_path / "out")
    assert snapshot(tmp_path) == before


@given(st.text(st.sampled_from("ab./\\:\0 "), max_size=8))
def test_a_name_that_passes_stays_below_its_folder(name: str) -> None:
    try:
        check_name(name, Path("b.zip"))
    except BundleError:
        return
    root = os.path.realpath("root")
    inside = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - what the system makes of it
    assert inside.startswith(root + os.sep)


def test_links_are_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "b.zip", (link("way_out"), b"/etc"), ("way_out/passwd", b"evil"))
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="'way_out', which is a link"):
        unpack(archive, tmp_path / "out")


def test_bombs_are_refused_unread(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "b.zip", ("bomb", bytes(10**6)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="'bomb' compressed"):
        unpack(archive, tmp_path)


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "b.zip", *[(f"part{number}", bytes(1000)) for number in range(9)])
    content = bytearray(archive.read_bytes())
    starts = [index for index in range(len(content)) if content[index : index + 4] == b"PK\x01\x02"]
    for start in starts:
        content[start + 42 : start + 46] = bytes(4)  # where the local header lies: all say the first one
        content[start + 46 + 4 : start + 46 + 5] = b"0123456789"[starts.index(start) :][:1]
    lead = content.index(b"PK\x01\x02")
    directory = bytes(content[lead:])
    shared = bytearray(content[:1035]) + directory
    end = shared.rindex(b"PK\x05\x06")
    shared[end + 16 : end + 20] = (1035).to_bytes(4, "little")
    archive.write_bytes(shared)
    with pytest.raises(BundleError, match="more than it weighs"):
        unpack(archive, tmp_path)


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b")], ids=["twice", "file and folder"])
def test_names_that_clash_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with warnings.catch_warnings(action="ignore"):  # zipfile warns of the first case
        archive = archive_of(tmp_path / "b.zip", *[(name, b"content") for name in names])
    with pytest.raises(BundleError, match="two files of one name"):
        unpack(archive, tmp_path)


@pytest.mark.parametrize("left", [0, 1, 100, -1, -30])
def test_an_archive_that_is_cut_off_is_refused(files: Path, tmp_path: Path, left: int) -> None:
    write_archive(files, tmp_path / "whole.zip")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole.zip").read_bytes()[:left])
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match=r"cut\.zip is cut off or damaged"):
        unpack(tmp_path / "cut.zip", tmp_path / "out")


def test_a_bit_that_flipped_is_noticed(files: Path, tmp_path: Path) -> None:
    write_archive(files, tmp_path / "b.zip")
    content = bytearray((tmp_path / "b.zip").read_bytes())
    content[content.index(b"a.txta.txt") + 50] ^= 1
    (tmp_path / "b.zip").write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="damaged"):
        unpack(tmp_path / "b.zip", tmp_path / "out")


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.zip cannot be unpacked \(No such file or directory\)"):
        unpack(tmp_path / "none.zip", tmp_path)
