"""Many machines, each a process here: the same result bit for bit, also if one of them dies, and clear errors."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask.config
import distributed
import numpy as np
import pytest

from squeeze_onnx.integrations.dask import track as dask_track
from squeeze_onnx.integrations.dask import workers
from squeeze_onnx.support.errors import MissingPackageError, ModelError, OptionError, WorkerError
from tests.folders import snapshot
from tests.integrations.dask.cluster import Cluster
from tests.integrations.dask.tasks import die, double, refuse, slow_process
from tests.tiny_encoder import encoder_model, write_model_folder
from tests.tracks import RecordingTrack


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a scheduler with one worker, which stays."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    with cluster.running(), cluster.worker("staying"):
        yield cluster


def optimize(model: Path, out: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "squeeze_onnx", "optimize", model, "-o", out, "--method", "svd", "--keep", "0.5"]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*map(str, command), *options], env=one_thread, stderr=subprocess.PIPE, text=True)


def test_a_worker_that_is_killed_costs_time_only(cluster: Cluster, tmp_path: Path) -> None:
    write_model_folder(tmp_path / "model", encoder_model(layers=3))
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with optimize(tmp_path / "model", tmp_path / "here" / "out") as run:
        assert (run.wait(), run.communicate()[1]) == (0, "")
    with cluster.worker("killed") as victim:
        victim.send_signal(signal.SIGSTOP)  # it takes tasks, and does not get them done
        with optimize(tmp_path / "model", tmp_path / "there" / "out", "--scheduler", str(cluster.file)) as run:
            cluster.wait_until_busy("killed")
            victim.kill()
            assert (run.wait(), run.communicate()[1]) == (0, "")
    here, there = snapshot(tmp_path / "here"), snapshot(tmp_path / "there")
    assert here.keys() == there.keys()
    assert here["out/model.onnx"] == there["out/model.onnx"]


class TestMap:
    def test_answers_in_order_and_leaves_nothing(self, cluster: Cluster, tmp_path: Path) -> None:
        arrays = [np.full((100, 100), float(number)) for number in range(12)]
        recording = RecordingTrack()
        with workers(str(cluster.file), recording, out=tmp_path / "out") as track:
            for array, answer in zip(arrays, track.map(double, arrays, "Doubling"), strict=True):
                np.testing.assert_array_equal(answer, 2 * array)
            assert list(track([1, 2], "Counting")) == [1, 2]
        assert recording.taken == {"Doubling": 12, "Counting": 2}
        assert list(tmp_path.iterdir()) == []

    def test_gives_the_tasks_of_a_lost_worker_to_another_one(self, cluster: Cluster, tmp_path: Path) -> None:
        with (
            cluster.worker("lost") as victim,
            workers(str(cluster.file), out=tmp_path / "out") as track,
        ):
            answers = iter(track.map(slow_process, range(12), "Waiting"))
            first = next(answers)  # now tasks are out
            cluster.wait_until_busy("lost")
            victim.kill()
            processes = [first, *answers]
        assert len(processes) == 12
        assert victim.pid not in processes[-4:]

    def test_raises_what_the_task_raised(self, cluster: Cluster, tmp_path: Path) -> None:
        with (
            workers(str(cluster.file), out=tmp_path / "out") as track,
            pytest.raises(ModelError, match="b is no model"),
        ):
            list(track.map(refuse, ["b"], "Refusing"))

    def test_refuses_a_worker_of_another_version(
        self, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dask_track, "__version__", "0.0.1")
        with (
            workers(str(cluster.file), out=tmp_path / "out") as track,
            pytest.raises(
                WorkerError, match=r"the worker tcp://\S+ has squeeze-onnx .*, not 0\.0\.1: install the same"
            ),
        ):
            list(track.map(double, [np.ones(1)], "Doubling"))


def test_processes_of_this_machine_come_and_go_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with workers("local:1") as track:
        [process] = track.map(slow_process, [0], "Waiting")
    assert process != os.getpid()
    assert not Path(f"/proc/{process}").exists()
    assert list(tmp_path.iterdir()) == []


class TestErrors:
    def test_a_scheduler_that_does_not_answer(self) -> None:
        with (
            pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 0\.5 seconds"),
            workers("tcp://127.0.0.1:9", patience=0.5),
        ):
            pass

    def test_a_scheduler_without_workers(self) -> None:
        with (
            distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
            pytest.raises(WorkerError, match=r"has no worker: start some with `dask worker`"),
            workers(empty.scheduler_address, patience=0.5),
        ):
            pass

    def test_a_task_that_every_worker_dies_of(self, tmp_path: Path) -> None:
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            workers("local:1", out=tmp_path / "out") as track,
            pytest.raises(WorkerError, match=r"workers of local:1 died of the same task, .* needs more memory"),
        ):
            list(track.map(die, [0], "Dying"))
        assert list(tmp_path.iterdir()) == []

    def test_a_scheduler_that_goes_away(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path)
        with (
            cluster.running() as scheduler,
            cluster.worker("idle"),
            workers(str(cluster.file), patience=3) as track,
        ):
            answers = iter(track.map(slow_process, range(50), "Waiting"))
            next(answers)
            scheduler.kill()
            with pytest.raises(WorkerError, match=r"the scheduler .*scheduler\.json went away: start it and this run"):
                list(answers)

    @pytest.mark.parametrize("scheduler", ["", "local", "local:0", "no-such-file.json"])
    def test_what_is_no_scheduler(self, scheduler: str) -> None:
        with pytest.raises(OptionError, match=r"`scheduler` is an address such as"), workers(scheduler):
            pass

    def test_no_dask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "squeeze_onnx.integrations.dask.track", None)
        with (
            pytest.raises(MissingPackageError, match=r"needs Dask, .*squeeze-onnx\[dask\]"),
            workers("local:2"),
        ):
            pass
