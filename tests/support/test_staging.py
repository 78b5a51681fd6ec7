"""Output appears whole or not at all, whatever happens while it is written."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from squeeze_onnx.support.errors import OutputError
from squeeze_onnx.support.staging import staged_file, staged_folder

RECORD = json.dumps({"format": "squeeze-onnx/report/1", "written": ["old.txt"]})
OLD = {"out": None, "out/old.txt": "old", "out/report.json": RECORD}


def tree(folder: Path) -> dict[str, str | None]:
    """Return all that lies in ``folder``: relative path -> text, or None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def write_folder(out: Path, *, force: bool = False) -> None:
    with staged_folder(out, force=force) as folder:
        (folder / "a.txt").write_text("new")


class TestFolder:
    def test_appears_when_the_block_is_done(self, tmp_path: Path) -> None:
        with staged_folder(tmp_path / "out") as folder:
            (folder / "a.txt").write_text("new")
            assert not (tmp_path / "out").exists()
            assert folder.parent == tmp_path
        assert tree(tmp_path) == {"out": None, "out/a.txt": "new"}

    def test_may_be_named_by_a_relative_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_folder(Path("out"))
        assert tree(tmp_path) == {"out": None, "out/a.txt": "new"}

    def test_makes_missing_parents(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "b" / "c" / "out")
        assert (tmp_path / "b" / "c" / "out" / "a.txt").read_text() == "new"

    def test_has_the_permissions_of_any_new_folder(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "out")
        (tmp_path / "plain").mkdir()
        assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError])
    def test_leaves_nothing_when_the_block_fails(self, tmp_path: Path, error: type[BaseException]) -> None:
        with pytest.raises(error), staged_folder(tmp_path / "b" / "out") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "half.bin").write_bytes(b"half")
            raise error
        assert tree(tmp_path) == {}

    def test_keeps_parents_that_were_there(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        with pytest.raises(RuntimeError), staged_folder(tmp_path / "b" / "c" / "out"):
            raise RuntimeError
        assert tree(tmp_path) == {"b": None}

    def test_leaves_nothing_on_sigterm(self, tmp_path: Path) -> None:
        script = (
            "import sys, time\nfrom squeeze_onnx.support.staging import staged_folder\n"
            "with staged_folder(sys.argv[1]) as folder:\n"
            "    (folder / 'half').touch(); print('writing', flush=True); time.sleep(60)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            process.terminate()
            assert process.wait(30) == 128 + signal.SIGTERM
        assert tree(tmp_path) == {}

    def test_leaves_signals_to_a_program_that_handles_them(self, tmp_path: Path) -> None:
        previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with staged_folder(tmp_path / "out"):
                assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGTERM, previous)

    def test_works_in_a_thread(self, tmp_path: Path) -> None:
        thread = threading.Thread(target=write_folder, args=[tmp_path / "out"])
        thread.start()
        thread.join()
        assert tree(tmp_path) == {"out": None, "out/a.txt": "new"}


class TestExistingFolder:
    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.txt").write_text("old")
        (tmp_path / "out" / "report.json").write_text(RECORD)
        return tmp_path / "out"

    def test_is_refused_before_any_work(self, tmp_path: Path, out: Path) -> None:
        with pytest.raises(OutputError, match=r"out exists already: .*`force`"), staged_folder(out):
            pytest.fail("the block ran")
        assert tree(tmp_path) == OLD

    def test_is_replaced_as_a_whole_by_force(self, tmp_path: Path, out: Path) -> None:
        write_folder(out, force=True)
        assert tree(tmp_path) == {"out": None, "out/a.txt": "new"}

    @pytest.mark.parametrize(
        ("spoil", "named"),
        [
            (
                lambda out: (out / "notes.txt").write_text("mine"),
                "out holds notes.txt, which squeeze-onnx did not write",
            ),
            (lambda out: (out / "report.json").unlink(), "out holds old.txt, which"),
            (lambda out: (out / "report.json").write_text("{"), "out holds old.txt and 1 more, which"),
            (lambda out: (out / "report.json").write_text(json.dumps({"written": ["old.txt"]})), "old.txt and 1 more"),
            (lambda out: (out / "link").symlink_to("."), "out holds link, which"),
        ],
        ids=["a file more", "no list", "no JSON", "of another program", "a link to a folder"],
    )
    def test_with_a_file_of_somebody_else_stays(
        self, tmp_path: Path, out: Path, spoil: Callable[[Path], object], named: str
    ) -> None:
        spoil(out)
        before = sorted(path.name for path in out.iterdir())
        with pytest.raises(OutputError, match=named), staged_folder(out, force=True):
            pytest.fail("the block ran")
        assert sorted(path.name for path in out.iterdir()) == before

    def test_stays_until_the_new_one_is_complete(self, out: Path) -> None:
        with staged_folder(out, force=True):
            assert tree(out) == {"old.txt": "old", "report.json": RECORD}

    def test_stays_when_the_block_fails(self, tmp_path: Path, out: Path) -> None:
        with pytest.raises(RuntimeError), staged_folder(out, force=True) as folder:
            (folder / "a.txt").write_text("half")
            raise RuntimeError
        assert tree(tmp_path) == OLD

    def test_comes_back_when_the_rename_fails(self, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rename = Path.rename

        def fail_for_the_new_one(path: Path, target: Path) -> Path:
            if "partial" in path.name:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
        with pytest.raises(OutputError, match="Permission denied"):
            write_folder(out, force=True)
        assert tree(tmp_path) == OLD

    def test_that_cannot_be_removed_is_pointed_at(
        self, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path, ignore_errors: bool = False) -> None:
            if not ignore_errors:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr("shutil.rmtree", refuse)
        with pytest.raises(OutputError, match=r"out is complete, but .*replaced.* delete it"):
            write_folder(out, force=True)
        assert (out / "a.txt").read_text() == "new"

    def test_behind_a_link_is_replaced_and_the_link_stays(self, tmp_path: Path, out: Path) -> None:
        (tmp_path / "link").symlink_to("out")
        write_folder(tmp_path / "link", force=True)
        assert (tmp_path / "link").is_symlink()
        assert tree(out) == {"a.txt": "new"}

    @pytest.mark.parametrize("force", [False, True])
    def test_is_a_file(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "file").write_text("old")
        with pytest.raises(OutputError, match="file is not a folder"):
            write_folder(tmp_path / "file", force=force)
        assert tree(tmp_path) == {"file": "old"}

    def test_is_where_somebody_works(self, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (out / "project").mkdir()
        monkeypatch.chdir(out / "project")
        with pytest.raises(OutputError, match="which would go with it"):
            write_folder(out, force=True)
        assert (out / "old.txt").exists()

    def test_is_somebodys_home(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(out))
        with pytest.raises(OutputError, match="which would go with it"):
            write_folder(out, force=True)
        assert (out / "old.txt").exists()

    @pytest.mark.parametrize("force", [False, True])
    def test_is_a_mount_point(self, force: bool) -> None:
        with pytest.raises(OutputError, match=r"mount point, .*: name a folder in it"):
            write_folder(Path("/proc"), force=force)


def raising(number: int, filename: Path | None = None) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), *([str(filename)] if filename else []))

    return fail


class TestTrouble:
    def test_a_parent_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="out cannot be written"):
            write_folder(tmp_path / "file" / "out")

    def test_a_name_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="File name too long"):
            write_folder(tmp_path / ("x" * 300))
        assert tree(tmp_path) == {}

    @pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
    def test_a_place_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        monkeypatch.setattr(Path, "mkdir", raising(number, tmp_path / "b"))
        with pytest.raises(OutputError, match=rf"out cannot be written \({os.strerror(number)}\)"):
            write_folder(tmp_path / "b" / "out")
        assert tree(tmp_path) == {}

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_full_disk_says_how_much_is_free(self, tmp_path: Path, number: int) -> None:
        with (
            pytest.raises(
                OutputError, match=rf"out cannot be written \({os.strerror(number)}; \d+ MiB are free there\)"
            ),
            staged_folder(tmp_path / "b" / "out") as folder,
        ):
            (folder / "half.bin").write_bytes(b"half")
            raising(number)()
        assert tree(tmp_path) == {}

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
    @pytest.mark.parametrize("write", [lambda file, array: file.write(array.tobytes()), lambda file, array: array.tofile(file)],
                             ids=["by Python", "by NumPy"])  # fmt: skip
    def test_a_truly_full_device(self, tmp_path: Path, write: Callable[[Any, Any], None]) -> None:
        with (
            pytest.raises(OutputError, match=r"out cannot be written .*MiB are free"),
            staged_folder(tmp_path / "out"),
            Path("/dev/full").open("wb", buffering=0) as file,
        ):
            write(file, np.zeros(100_000))
        assert tree(tmp_path) == {}

    def test_a_read_only_disk_that_becomes_so_while_writing(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="Read-only file system"), staged_folder(tmp_path / "out"):
            raising(errno.EROFS)()

    def test_that_is_not_about_the_output_is_left_alone(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError), staged_folder(tmp_path / "out"):
            (tmp_path / "input.txt").read_text()
        assert tree(tmp_path) == {}

    def test_another_run_that_was_faster(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="exists already"), staged_folder(tmp_path / "out") as folder:
            (folder / "a.txt").write_text("slow")
            write_folder(tmp_path / "out")
        assert tree(tmp_path) == {"out": None, "out/a.txt": "new"}


class TestFile:
    def test_appears_when_the_block_is_done(self, tmp_path: Path) -> None:
        with staged_file(tmp_path / "b" / "report.json") as path:
            path.write_text("{}")
            assert not (tmp_path / "b" / "report.json").exists()
        assert tree(tmp_path) == {"b": None, "b/report.json": "{}"}

    def test_replaces_the_old_one(self, tmp_path: Path) -> None:
        (tmp_path / "report.json").write_text("old")
        with staged_file(tmp_path / "report.json") as path:
            path.write_text("new")
        assert tree(tmp_path) == {"report.json": "new"}

    def test_keeps_the_old_one_when_the_block_fails(self, tmp_path: Path) -> None:
        (tmp_path / "report.json").write_text("old")
        with pytest.raises(RuntimeError), staged_file(tmp_path / "report.json") as path:
            path.write_text("half")
            raise RuntimeError
        assert tree(tmp_path) == {"report.json": "old"}

    def test_is_not_replaced_without_force(self, tmp_path: Path) -> None:
        (tmp_path / "report.json").write_text("old")
        with pytest.raises(OutputError, match="exists already"), staged_file(tmp_path / "report.json", force=False):
            pytest.fail("the block ran")

    def test_is_not_put_in_the_place_of_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="is a folder: name a file in it"), staged_file(tmp_path):
            pytest.fail("the block ran")

    def test_that_is_a_device_is_written_as_it_is(self) -> None:
        with staged_file("/dev/null") as path:
            assert path == Path("/dev/null")

    def test_may_be_a_pipe(self, tmp_path: Path) -> None:
        script = "from squeeze_onnx.support.staging import staged_file\n"
        script += "with staged_file('/dev/stdout') as path: path.write_text('{}')"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "{}"
