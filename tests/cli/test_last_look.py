"""What ``optimize`` says of a model that does not answer as was predicted, and that it leaves nothing behind.

Each fault is planted behind what the predictions look at, in the step that it is about.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.precision.measured import lower_measured
from squeeze_onnx.compress.precision.tables import ColumnTable
from squeeze_onnx.compress.refit import refit_sites
from squeeze_onnx.graph.fused.fusion import fuse_squeezed
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.quantized.few_bits import store_int8_table
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.learning.distill import distill
from squeeze_onnx.workflows import result_folder
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import WORDS, encoder_model, outputs, write_model_folder

Plant = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("last-look")
    write_model_folder(folder / "model", encoder_model(classifier=True))
    rng = np.random.default_rng(0)
    sentences = [" ".join(rng.choice(WORDS, size)) for size in rng.integers(3, 12, 120)]
    (folder / "text").write_text("\n".join(sentences), encoding="utf-8")
    return folder


def options(work: Path, *more: str) -> Sequence[str | Path]:
    return ("--keep", "0.5", "--calibration", work / "text", "--calibration-rows", "60", *more)


def look_of(out: Path) -> dict[str, Any]:
    look: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))["last_look"]
    return look


def roll_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words mean what their neighbours do, but only in what is stored."""

    def store(self: ColumnTable, inserter: Inserter, site: MatMulSite) -> None:
        store_int8_table(inserter, site, np.roll(self.columns.integers, 1, axis=1), self.columns.scales)

    monkeypatch.setattr(ColumnTable, "store", store)


def scramble(model: ir.Model, factor: float = -3.0) -> None:
    for site in find_sites(model).sites:
        for node in site.nodes:
            weight = node.inputs[1]
            assert weight is not None
            if str(site.name).startswith("layer.1"):
                assert weight.const_value is not None
                array = weight.const_value.numpy()
                weight.const_value = ir.tensor((factor * array[::-1]).astype(array.dtype), name=weight.name)


def spoil_the_refit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refit(model: ir.Model, *arguments: Any, **rest: Any) -> Any:
        errors = refit_sites(model, *arguments, **rest)
        scramble(model)
        return errors

    monkeypatch.setattr("squeeze_onnx.compress.squeezing.refit_sites", refit)


def spoil_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(student: ir.Model, *arguments: Any, **rest: Any) -> Any:
        outcome = distill(student, *arguments, **rest)
        scramble(student)
        return outcome

    monkeypatch.setattr("squeeze_onnx.compress.squeezing.distill", learn)


def spoil_fusing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fuse(squeezed: ir.Model, *arguments: Any, **rest: Any) -> Any:
        counts = fuse_squeezed(squeezed, *arguments, **rest)
        scramble(squeezed)
        return counts

    monkeypatch.setattr("squeeze_onnx.compress.lowering.fuse_squeezed", fuse)


@dataclass(frozen=True)
class Fault:
    """How a step is made to break a model, the options it takes, what the sentence calls the step, and which way out it shows."""

    step: str
    plant: Plant
    options: tuple[str, ...]
    called: str
    way_out: str


FAULTS = pytest.mark.parametrize(
    "fault",
    [
        Fault("rounding", roll_every_table, ("--precision", "int8"), "--precision int8", "take another --precision"),
        Fault(
            "squeezing",
            spoil_the_refit,
            ("--method", "whiten"),
            "squeezing",
            "without the refit (--no-refit) they move by 0.0",
        ),
        Fault("distillation", spoil_learning, ("--distill", "2"), "distillation", "leave out --distill"),
        Fault("fusing", spoil_fusing, ("--fuse", "cpu", "--precision", "int4"), "--fuse cpu", "leave out --fuse cpu"),
    ],
    ids=lambda fault: fault.step,
)


@FAULTS
def test_a_step_that_destroys_a_model_is_named_and_nothing_is_written(
    call_cli: RunCli, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fault.plant(monkeypatch)
    done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *options(work, *fault.options))
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert said.startswith("squeeze-onnx: error: the finished model does not answer as was predicted")
    assert f"on 60 texts that were held back {fault.called} moves the outputs by" in said
    assert fault.way_out in said
    assert said.endswith("or have it all the same with --force-write")
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".distillation.npz")]


@FAULTS
def test_force_write_writes_it_all_the_same(
    call_cli: RunCli, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    fault.plant(monkeypatch)
    out = tmp_path / "out"
    done = call_cli("optimize", work / "model", "-o", out, "--force-write", *options(work, *fault.options))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"far outside: {fault.step} broke it" in " ".join(done.stdout.split())
    look = look_of(out)
    assert (look["verdict"], look["broken_by"], look["held_back"]) == ("far outside", fault.step, True)
    assert "far outside, broken by" in " ".join((out / "report.html").read_text(encoding="utf-8").split())


def test_a_good_model_has_prediction_and_measurement_side_by_side(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = call_cli("optimize", work / "model", "-o", out, *options(work, "--fuse", "cpu", "--precision", "int4"))
    assert (done.returncode, done.stderr) == (0, "")
    look = look_of(out)
    assert (look["texts"], look["held_back"], look["verdict"], look["broken_by"]) == (60, True, "as predicted", None)
    squeezed, fused, rounded = look["steps"]
    assert [step["step"] for step in look["steps"]] == ["squeezing", "fusing", "rounding"]
    assert 0 < squeezed["predicted"] < 1 and 0 < squeezed["moved"] == squeezed["error"] < 1
    assert fused["predicted"] == 0 and fused["moved"] < 1e-6
    assert 0 < rounded["predicted"] < 0.1 and 0 < rounded["moved"] < 0.5
    assert look["predicted"] == pytest.approx(squeezed["predicted"] + rounded["predicted"])
    assert look["measured"] == rounded["error"]
    assert "Last look: on 60 texts held back: outputs move by squeezing" in " ".join(done.stdout.split())
    assert "as predicted" in (out / "report.html").read_text(encoding="utf-8")


def test_nan_is_found_and_certified_as_such(
    call_cli: RunCli, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lower(precision: Any, model: ir.Model, evidence: Any) -> Any:
        lowered = lower_measured(precision, model, evidence)
        scramble(lowered.model, float("nan"))
        return lowered

    monkeypatch.setattr("squeeze_onnx.compress.lowering.lower_measured", lower)
    asked = ("optimize", work / "model", "-o", tmp_path / "out", *options(work, "--precision", "fp16"))
    done = call_cli(*asked)
    assert done.returncode == 1
    assert "--precision fp16 makes outputs NaN or infinite" in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
    assert call_cli(*asked, "--force-write").returncode == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["last_look"]["steps"][-1]["finite"] is False
    assert report["certificate"]["measured"] is None
    assert "NaN or infinite" in report["certificate"]["notes"][0]


class TestWithoutText:
    ASKED = ("--method", "svd", "--keep", "0.2")

    def test_a_strong_cut_that_predicts_nothing_is_run_only(self, call_cli: RunCli, work: Path, tmp_path: Path) -> None:
        done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *self.ASKED)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Last look: on made-up input: it runs" in done.stdout
        look = look_of(tmp_path / "out")
        assert (look["texts"], look["held_back"], look["verdict"], look["measured"]) == (0, False, "ran", None)

    def test_rounding_is_held_against_what_was_squeezed(
        self, call_cli: RunCli, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = ("optimize", work / "model", "-o", tmp_path / "out", *self.ASKED, "--precision", "int8")
        done = call_cli(*asked)
        assert (done.returncode, done.stderr) == (0, "")
        assert look_of(tmp_path / "out")["verdict"] == "as predicted"
        roll_every_table(monkeypatch)
        before = snapshot(tmp_path)
        done = call_cli(*asked, "--force")
        assert done.returncode == 1
        assert "on made-up input --precision int8 moves the outputs by" in " ".join(done.stderr.split())
        assert snapshot(tmp_path) == before

    @pytest.mark.parametrize("precision", [(), ("--precision", "int4")], ids=["", "then rounded"])
    def test_a_fused_model_that_does_not_run_is_refused(
        self,
        call_cli: RunCli,
        work: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        precision: tuple[str, ...],
    ) -> None:
        def fuse(squeezed: ir.Model, *arguments: Any, **rest: Any) -> Any:
            counts = fuse_squeezed(squeezed, *arguments, **rest)
            node = next(node for node in squeezed.graph if node.op_type == "Softmax" or node.domain == "com.microsoft")
            node.op_type, node.domain = "Mystery", "com.microsoft"
            return counts

        monkeypatch.setattr("squeeze_onnx.compress.lowering.fuse_squeezed", fuse)
        done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *self.ASKED, "--fuse", "cpu", *precision)
        assert done.returncode == 2
        assert "--fuse cpu makes a model that ONNX Runtime cannot run" in done.stderr
        assert "leave out --fuse cpu" in done.stderr
        assert not list(tmp_path.iterdir())

    def test_a_model_that_never_ran_here_is_squeezed_all_the_same(
        self, call_cli: RunCli, work: Path, tmp_path: Path
    ) -> None:
        proto = encoder_model(classifier=True)
        softmax = next(node for node in proto.graph.node if node.op_type == "Softmax")
        softmax.op_type, softmax.domain = "Mystery", "org.example"
        proto.opset_import.add(domain="org.example", version=1)
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.onnx").write_bytes(proto.SerializeToString())
        done = call_cli("optimize", tmp_path / "model", "-o", tmp_path / "out", *self.ASKED)
        assert (done.returncode, done.stderr) == (0, "")
        assert look_of(tmp_path / "out")["verdict"] == "not run"
        assert "neither does the model that came in" in " ".join(done.stdout.split())

    def test_without_onnxruntime_it_is_not_run(
        self, call_cli: RunCli, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *self.ASKED)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Last look: It was not run: onnxruntime is not installed" in " ".join(done.stdout.split())
        assert look_of(tmp_path / "out")["verdict"] == "not run"

    def test_a_model_for_a_device_that_is_not_here_is_not_run(
        self, call_cli: RunCli, work: Path, tmp_path: Path
    ) -> None:
        from onnxruntime import get_available_providers

        if "CUDAExecutionProvider" in get_available_providers():
            pytest.skip("this machine has the device")
        done = call_cli("optimize", work / "model", "-o", tmp_path / "out", *self.ASKED, "--fuse", "cuda")
        assert (done.returncode, done.stderr) == (0, "")
        assert look_of(tmp_path / "out")["verdict"] == "not run"

    @pytest.mark.parametrize("external", [(), ("--external-data",)], ids=["one file", "external data"])
    def test_a_large_model_stays_in_its_file(
        self,
        call_cli: RunCli,
        work: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        external: tuple[str, ...],
    ) -> None:
        monkeypatch.setattr(result_folder, "LARGE", 1)
        out = tmp_path / "out"
        done = call_cli("optimize", work / "model", "-o", out, *self.ASKED, *external)
        assert (done.returncode, done.stderr) == (0, "")
        assert look_of(out)["verdict"] == "ran"
        assert {path.suffix for path in out.glob("model.onnx*")} == ({".onnx", ".data"} if external else {".onnx"})
        assert outputs(out).shape == (3, 2)


def test_too_little_text_to_hold_back_is_looked_at_in_sample(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    (tmp_path / "few").write_text("\n".join(WORDS[:3]), encoding="utf-8")
    done = call_cli(
        "optimize", work / "model", "-o", tmp_path / "out", "--keep", "0.5", "--calibration", tmp_path / "few"
    )
    assert (done.returncode, done.stderr) == (0, "")
    look = look_of(tmp_path / "out")
    assert (look["texts"], look["held_back"]) == (3, False)
    assert "Too few texts to hold any back" in look["notes"][0]


def test_a_searched_model_is_looked_at_too(call_cli: RunCli, work: Path, tmp_path: Path) -> None:
    """The one that was chosen, in the precision it ships in."""
    from tests.graded_pairs import graded_pairs, write_split

    model = write_model_folder(tmp_path / "encoder")
    pairs = graded_pairs(model, 400)
    for name, rows in (("train", pairs[0::2]), ("dev", pairs[1::2])):
        write_split(tmp_path / "glue", name, rows)
    asked = ("--task", "stsb", "--data", tmp_path / "glue", "--calibration-rows", "60", "--precision", "int4")
    done = call_cli("optimize", model, "-o", tmp_path / "out", "--method", "whiten", "--max-drop", "30", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    look = look_of(tmp_path / "out")
    assert [step["step"] for step in look["steps"]] == ["squeezing", "rounding"]
    assert look["held_back"] and look["verdict"] == "as predicted"
    assert look["steps"][0]["predicted"] > 0
