"""A place is held by one run at a time, whatever becomes of the run, and what killed runs left is cleared."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from squeeze_onnx.support.errors import OutputError
from squeeze_onnx.support.reservation import reserved
from squeeze_onnx.support.staging import staged_file, staged_folder
from tests.folders import snapshot
from tests.holding import held, leave_lock_of_killed_run

REFUSED = r"out is being written by another run: wait for it, or name another place"


class TestAPlaceThatAnotherRunHolds:
    def test_is_refused_at_once(self, tmp_path: Path) -> None:
        with held(tmp_path / "out"), pytest.raises(OutputError, match=REFUSED), reserved(tmp_path / "out"):
            pytest.fail("the block ran")
        assert snapshot(tmp_path) == {}

    def test_is_refused_as_a_staged_folder(self, tmp_path: Path) -> None:
        with held(tmp_path / "out"), pytest.raises(OutputError, match=REFUSED), staged_folder(tmp_path / "out"):
            pytest.fail("the block ran")

    def test_is_refused_in_another_thread(self, tmp_path: Path) -> None:
        errors: list[str] = []

        def reserve() -> None:
            try:
                with reserved(tmp_path / "out"):
                    errors.append("none")
            except OutputError as error:
                errors.append(str(error))

        with reserved(tmp_path / "out"):
            thread = threading.Thread(target=reserve)
            thread.start()
            thread.join()
        assert errors == [f"{tmp_path / 'out'} is being written by another run: wait for it, or name another place"]

    def test_is_refused_by_another_name_of_it(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "out")
        with held(tmp_path / "out"), pytest.raises(OutputError, match="link is being written"):
            reserved(tmp_path / "link").__enter__()

    def test_says_nothing_of_its_neighbours(self, tmp_path: Path) -> None:
        with held(tmp_path / "out"), staged_folder(tmp_path / "out2"), staged_folder(tmp_path / "ou"):
            pass
        assert snapshot(tmp_path) == {"out2": None, "ou": None}

    def test_keeps_what_it_has_begun(self, tmp_path: Path) -> None:
        begun = tmp_path / ".out.partial-0123abcd"
        with held(tmp_path / "out"):
            begun.mkdir()
            with reserved(tmp_path / "out", share=True):
                assert begun.exists()
            assert (tmp_path / ".out.lock").exists()

    def test_may_be_a_file_of_which_the_last_one_written_wins(self, tmp_path: Path) -> None:
        with held(tmp_path / "out"), staged_file(tmp_path / "out") as path:
            path.write_text("last")
        assert (tmp_path / "out").read_text() == "last"


class TestAPlaceThatIsFree:
    def test_may_be_reserved_again_inside(self, tmp_path: Path) -> None:
        with reserved(tmp_path / "out"), staged_folder(tmp_path / "out") as folder:
            (folder / "file").touch()
        assert snapshot(tmp_path) == {"out": None, "out/file": b""}

    def test_is_free_again_after_an_error(self, tmp_path: Path) -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError), reserved(tmp_path / "a" / "out"):
                raise RuntimeError
        assert snapshot(tmp_path) == {}

    def test_is_free_again_after_its_run_was_killed(self, tmp_path: Path) -> None:
        leave_lock_of_killed_run(tmp_path / "out")
        with staged_folder(tmp_path / "out"):
            pass
        assert snapshot(tmp_path) == {"out": None}

    def test_is_never_given_to_two_runs_at_once(self, tmp_path: Path) -> None:
        """Four runs count to 50 each in one file, and none is lost though nothing but the lock guards the file."""
        script = (
            "import sys\nfrom pathlib import Path\n"
            "from squeeze_onnx.support.errors import OutputError\nfrom squeeze_onnx.support.reservation import reserved\n"
            "counter, counted = Path(sys.argv[1]), 0\n"
            "while counted < 50:\n"
            "    try:\n"
            "        with reserved(counter):\n"
            "            number = int(counter.read_text())\n"
            "            counter.write_text(str(number + 1))\n"
            "            counted += 1\n"
            "    except OutputError:\n"
            "        pass\n"
        )
        (tmp_path / "counter").write_text("0")
        runs = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "counter")]) for _ in range(4)]
        assert [run.wait(120) for run in runs] == [0, 0, 0, 0]
        assert snapshot(tmp_path) == {"counter": b"200"}


class TestLeftoversOfKilledRuns:
    def test_are_cleared(self, tmp_path: Path) -> None:
        (tmp_path / ".out.partial-0123abcd" / "sub").mkdir(parents=True)
        (tmp_path / ".out.partial-01_3abcz").touch()
        (tmp_path / ".out.replaced-0123abcd").mkdir()
        with staged_folder(tmp_path / "out", force=True):
            pass
        assert snapshot(tmp_path) == {"out": None}

    def test_are_put_back_if_nothing_else_is_there(self, tmp_path: Path) -> None:
        """The kill fell between the two renames: the old folder is aside, the new one not yet in its place."""
        (tmp_path / ".out.partial-0123abcd").mkdir()
        (tmp_path / ".out.replaced-0123abcd").mkdir()
        (tmp_path / ".out.replaced-0123abcd" / "old").touch()
        with pytest.raises(OutputError, match="exists already"), staged_folder(tmp_path / "out"):
            pytest.fail("the block ran")
        assert snapshot(tmp_path) == {"out": None, "out/old": b""}

    @pytest.mark.parametrize(
        "name", [".out.partial", ".out.partial-0123", ".out2.partial-0123abcd", "out.partial-0123abcd"]
    )
    def test_are_told_from_files_of_others(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with reserved(tmp_path / "out"):
            pass
        assert snapshot(tmp_path) == {name: b""}


def test_a_folder_that_cannot_hold_a_lock_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").symlink_to(tmp_path / "elsewhere")  # never followed
    with pytest.raises(OutputError, match=r"out cannot be written \(.*\): name a place"), reserved(tmp_path / "out"):
        pytest.fail("the block ran")
    assert not (tmp_path / "elsewhere").exists()
