"""Bad input: exit status 2, one sentence on stderr that names what is at fault, and nothing written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from squeeze_onnx.compress.plan import FORMAT
from tests.conftest import RunCli
from tests.folders import snapshot
from tests.text_models import write_tokenizer
from tests.tiny_encoder import SENTENCES, WORDS, encoder_model, weights_of, with_weights, write_model_folder
from tests.tiny_models import WEIGHT, external_tensor, matmul_model, value, write

Refuses = Callable[..., str]


@pytest.fixture
def refuses(run_cli: RunCli, tmp_path: Path) -> Refuses:
    """Run a command that must fail; return its one sentence. Everything in ``tmp_path`` is as it was before."""
    return partial(refusal, run_cli, tmp_path)


@pytest.fixture
def refuses_here(call_cli: RunCli, tmp_path: Path) -> Refuses:
    """Do as ``refuses``, in this process: for the many ways to go wrong in the same place."""
    return partial(refusal, call_cli, tmp_path)


def refusal(call: RunCli, folder: Path, *arguments: str | Path) -> str:
    before = snapshot(folder)
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("squeeze-onnx: error: ")
    assert done.stderr.count("\n") == 1
    assert snapshot(folder) == before
    return done.stderr


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


def with_bad_weight(entry: float) -> onnx.ModelProto:
    model = encoder_model()
    weight = weights_of(model)["layer.1/value.weight"].copy()
    weight[3, 5] = entry
    return with_weights(model, {"layer.1/value.weight": weight})


def integer_model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "W"], ["y"], name="int8")],
        "integers",
        [value("x", ["b", 8], TensorProto.INT8)],
        [value("y", ["b", 4], TensorProto.INT32)],
        [numpy_helper.from_array(WEIGHT.astype(np.int8), "W")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def without_weights() -> onnx.ModelProto:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "bare", [value("x", [2])], [value("y", [2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class TestModelFile:
    def test_is_missing(self, refuses: Refuses, tmp_path: Path) -> None:
        assert "none.onnx does not exist" in refuses("optimize", tmp_path / "none.onnx", "-o", tmp_path / "out")

    def test_is_not_in_the_folder(self, refuses_here: Refuses, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "empty holds no .onnx file" in refuses_here("optimize", tmp_path / "empty", "-o", tmp_path / "out")

    @pytest.mark.parametrize("content", [b"", b"pickle"], ids=["empty", "something else"])
    def test_is_not_onnx(self, refuses_here: Refuses, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "model.onnx").write_bytes(content)
        assert "model.onnx" in refuses_here("optimize", tmp_path, "-o", tmp_path / "out")

    @pytest.mark.parametrize("left", [0.3, 0.999])
    def test_is_truncated(self, refuses: Refuses, model: Path, tmp_path: Path, left: float) -> None:
        content = (model / "model.onnx").read_bytes()
        (model / "model.onnx").write_bytes(content[: int(left * len(content))])
        assert "is not an ONNX file, or is cut off" in refuses("optimize", model, "-o", tmp_path / "out")

    def test_defines_a_weight_twice(self, refuses_here: Refuses, tmp_path: Path) -> None:
        twice = [numpy_helper.from_array(WEIGHT, "W"), numpy_helper.from_array(2 * WEIGHT, "W")]
        write(matmul_model(*twice), tmp_path / "model.onnx")
        assert "defines initializer 'W' 2 times" in refuses_here("optimize", tmp_path, "-o", tmp_path / "out")


class TestExternalData:
    def optimize(self, refuses: Refuses, folder: Path, tensor: onnx.TensorProto, **files: bytes) -> str:
        write(matmul_model(tensor), folder / "model" / "model.onnx", **files)
        return refuses("optimize", folder / "model", "-o", folder / "out")

    def test_is_missing(self, refuses: Refuses, tmp_path: Path) -> None:
        sentence = self.optimize(refuses, tmp_path, external_tensor("W", "weights.bin"))
        assert "keeps tensor 'W' in 'weights.bin', which cannot be found" in sentence

    def test_is_too_short(self, refuses: Refuses, tmp_path: Path) -> None:
        tensor = external_tensor("W", "weights.bin")
        sentence = self.optimize(refuses, tmp_path, tensor, weights=WEIGHT.tobytes()[:-1])
        assert "needs 128 bytes of 'weights.bin' for tensor 'W', but the file has 127" in sentence

    @pytest.mark.parametrize("location", ["{outside}/secret", "../secret"], ids=["an absolute path", ".."])
    def test_leaves_the_folder(self, refuses_here: Refuses, tmp_path: Path, location: str) -> None:
        (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
        tensor = external_tensor("W", location.format(outside=tmp_path))
        assert "secret" in self.optimize(refuses_here, tmp_path, tensor)

    def test_leaves_the_folder_by_a_link(self, refuses: Refuses, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights.bin").symlink_to("../secret")
        sentence = self.optimize(refuses, tmp_path, external_tensor("W", "weights.bin"))
        assert "which leads out of the model's folder" in sentence


class TestWeights:
    @pytest.mark.parametrize("command", ["analyze", "optimize"])
    def test_are_not_finite(self, refuses: Refuses, tmp_path: Path, command: str) -> None:
        folder = write_model_folder(tmp_path / "model", with_bad_weight(np.nan if command == "analyze" else -np.inf))
        sentence = refuses(command, folder, *(("-o", tmp_path / "out") if command == "optimize" else ()))
        assert "of node layer.1/value holds NaN or infinite values" in sentence
        assert "--exclude layer.1/value" in sentence

    @pytest.mark.parametrize("command", ["analyze", "optimize"])
    def test_that_are_not_finite_can_be_excluded_as_the_sentence_says(
        self, call_cli: RunCli, tmp_path: Path, command: str
    ) -> None:
        folder = write_model_folder(tmp_path / "model", with_bad_weight(np.nan))
        out = ("-o", tmp_path / "out") if command == "optimize" else ()
        done = call_cli(command, folder, *out, "--exclude", "layer.1/value")
        assert (done.returncode, done.stderr) == (0, "")

    def test_that_are_not_finite_spoil_calibration(self, refuses_here: Refuses, tmp_path: Path) -> None:
        folder = write_model_folder(tmp_path / "model", with_bad_weight(np.nan))
        (tmp_path / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
        sentence = refuses_here(
            *("optimize", folder, "-o", tmp_path / "out", "--exclude", "layer.1/value"),
            *("--calibration", tmp_path / "text"),
        )
        assert "layer.1/attention_output" in sentence

    @pytest.mark.parametrize("command", ["analyze", "optimize"])
    @pytest.mark.parametrize(
        ("made", "fault"),
        [(without_weights, "model.onnx has no eligible"), (integer_model, "int8: MatMulInteger stores its weight as")],
        ids=["no weights", "integers only"],
    )
    def test_are_none_to_squeeze(
        self, refuses_here: Refuses, tmp_path: Path, command: str, made: Callable[[], onnx.ModelProto], fault: str
    ) -> None:
        write(made(), tmp_path / "model.onnx")
        assert fault in refuses_here(command, tmp_path, *(("-o", tmp_path / "out") if command == "optimize" else ()))

    def test_are_all_excluded(self, refuses_here: Refuses, model: Path, tmp_path: Path) -> None:
        roles = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")
        excludes = [word for role in roles for word in ("--exclude", role)]
        assert "has no eligible" in refuses_here("optimize", model, "-o", tmp_path / "out", *excludes)


class TestOut:
    def test_exists(self, refuses: Refuses, model: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "precious.txt").write_text("old")
        assert "--force" in refuses("optimize", model, "-o", tmp_path / "out")

    @pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "--force"])
    @pytest.mark.parametrize("out", [".", ".."], ids=["the input", "a folder around the input"])
    def test_holds_the_input(self, refuses_here: Refuses, model: Path, out: str, force: tuple[str, ...]) -> None:
        assert "would replace the input" in refuses_here("optimize", model, "-o", model / out, *force)

    @pytest.mark.parametrize("name", ["model.onnx", "config.json", "./tokenizer.json"])
    @pytest.mark.parametrize("option", ["--json", "--html"])
    def test_of_a_report_belongs_to_the_model(self, refuses_here: Refuses, model: Path, option: str, name: str) -> None:
        assert "belongs to the model" in refuses_here("analyze", model, option, model / name)
        assert "belongs to the model" in refuses_here("validate", model, model, option, model / name)

    def test_is_a_file(self, refuses_here: Refuses, model: Path) -> None:
        assert "config.json is not a folder" in refuses_here("optimize", model, "-o", model / "config.json", "--force")

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a place that nobody may write to")
    def test_is_where_nobody_may_write(self, refuses: Refuses, model: Path) -> None:
        assert "/sys/out cannot be written" in refuses("optimize", model, "-o", "/sys/out")
        assert "/sys/a.json cannot be written" in refuses("analyze", model, "--json", "/sys/a.json")

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a shell that limits the size of files")
    def test_does_not_fit(self, model: Path, tmp_path: Path) -> None:
        before = snapshot(tmp_path)
        command = [sys.executable, "-m", "squeeze_onnx", "optimize", model, "-o", tmp_path / "out"]
        limited = ["bash", "-c", 'ulimit -f 16; exec "$@"', "limited", *map(str, command)]
        done = subprocess.run(limited, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "out cannot be written (File too large; " in done.stderr
        assert done.stderr.count("\n") == 1
        assert snapshot(tmp_path) == before


WRITING = [("optimize", "out"), ("package", "out"), ("package", "out.zip")]


class TestOutOnASmallDisk:
    """With a true file system, where the machine lets us mount one."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        disk = tmp_path / "disk"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
        if not sys.platform.startswith("linux") or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
            pytest.skip("needs the right to mount")
        yield disk
        subprocess.run(["umount", str(disk)], check=True)

    @pytest.mark.parametrize(("command", "out"), WRITING)
    def test_that_is_full(self, refuses_here: Refuses, model: Path, disk: Path, command: str, out: str) -> None:
        said = refuses_here(command, model, "-o", disk / out)
        assert f"{disk / out} cannot be written (No space left on device; 0 MiB are free there): make room" in said

    @pytest.mark.parametrize(("command", "out"), WRITING)
    def test_that_is_read_only(self, refuses_here: Refuses, model: Path, disk: Path, command: str, out: str) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert f"{disk / out} cannot be written (Read-only file system)" in refuses_here(
            command, model, "-o", disk / out
        )


class TestOption:
    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            (("--keep", "0"), "--keep is a float above 0 and up to 1; got 0.0"),
            (("--keep", "1.5"), "--keep is a float above 0 and up to 1; got 1.5"),
            (("--keep", "nan"), "--keep is a float above 0 and up to 1; got nan"),
            (("--keep", "0.01"), "--keep 0.01 is too little: rank 1 in every eligible weight takes"),
            (("--method", "magic"), "--method is one of auto, squeeze, svd"),
            (("--noise", "loud"), "--noise is one of entries, median, bulk; got 'loud'"),
            (("--probability", "1"), "--probability is a float between 0 and 1"),
            (("--preset", "paper"), "--preset is one of paper-ffn, paper-size; got 'paper'"),
            (("--preset", "paper-ffn", "--keep", "0.5"), "--preset paper-ffn sets its own budget"),
            (("--preset", "paper-ffn", "--method", "svd"), "--preset paper-ffn is a regime of --method squeeze"),
            (("--include", "head"), "--include is one of query, key"),
            (("--exclude", "layer.9/query"), "--exclude layer.9/query: neither a role"),
            (("--above-break-even", "pray"), "--above-break-even is one of leave, denoise"),
            (("--method", "whiten"), "--method whiten looks at activations"),
            (("--task", "sst2"), "--calibration glue:sst2 needs --data"),
            (("--task", "imdb", "--data", "."), "--task is one of sst2, mrpc"),
            (("--data", "."), "--data . is no file or folder of own rows"),
            (("--max-drop", "1"), "--max-drop is in points of a task's metric; name the task with --task"),
            (("--max-drop", "1", "--task", "stsb"), "--task stsb needs --data"),
            (
                ("--max-drop", "-1", "--task", "stsb", "--data", "."),
                "--max-drop is a number of points, 0 or more; got -1",
            ),
            (
                ("--max-drop", "1", "--task", "stsb", "--data", ".", "--keep", "0.5"),
                "--max-drop finds the budget itself",
            ),
            (("--cache", __file__), "test_bad_input.py is a file; name a folder"),
        ],
        ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
    )
    def test_is_wrong(
        self, refuses_here: Refuses, model: Path, tmp_path: Path, options: tuple[str, ...], fault: str
    ) -> None:
        assert fault in refuses_here("optimize", model, "-o", tmp_path / "out", *options)

    @pytest.mark.parametrize(
        "options",
        [("--keep", "0.5"), ("--exclude", "query"), ("--method", "svd"), ("--max-drop", "1")],
        ids=lambda options: options[0],
    )
    def test_contradicts_the_plan(
        self, refuses_here: Refuses, model: Path, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        sentence = refuses_here("optimize", model, "-o", tmp_path / "out", "--plan", tmp_path / "plan.json", *options)
        assert f"--plan already says what becomes of each site; leave out {options[0]}" in sentence


class TestPlan:
    QUERY = {"name": "layer.0/query", "shape": [32, 32], "rank": 4}  # noqa: RUF012

    def optimize(self, refuses_here: Refuses, folder: Path, document: Any) -> str:
        plan = folder / "plan.json"
        plan.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return refuses_here("optimize", folder / "model", "-o", folder / "out", "--plan", plan)

    def plan(self, *sites: Any, **changes: Any) -> dict[str, Any]:
        return {"format": FORMAT, "method": "svd", "budget": {}, "sites": sites, "skipped": [], **changes}

    @pytest.mark.usefixtures("model")
    def test_is_broken(self, refuses: Refuses, refuses_here: Refuses, tmp_path: Path) -> None:
        assert "plan.json is not JSON" in self.optimize(refuses, tmp_path, '{"sites": [')
        site = self.QUERY | {"rank": 33}
        assert 'sites[0] (layer.0/query): "rank" is 33' in self.optimize(refuses_here, tmp_path, self.plan(site))

    @pytest.mark.usefixtures("model")
    def test_is_of_another_architecture(self, refuses_here: Refuses, tmp_path: Path) -> None:
        stranger = self.QUERY | {"name": "layer.7/query"}
        sentence = self.optimize(refuses_here, tmp_path, self.plan(self.QUERY, stranger))
        assert "names the site layer.7/query, which this model does not have" in sentence
        other_shape = self.QUERY | {"shape": [32, 64]}
        sentence = self.optimize(refuses_here, tmp_path, self.plan(other_shape))
        assert "has 32 × 64 for site layer.0/query, this model has 32 × 32" in sentence

    @pytest.mark.usefixtures("model")
    def test_names_a_site_twice(self, refuses_here: Refuses, tmp_path: Path) -> None:
        sentence = self.optimize(refuses_here, tmp_path, self.plan(self.QUERY, self.QUERY))
        assert "names the site layer.0/query 2 times" in sentence

    @pytest.mark.usefixtures("model")
    def test_is_of_a_method_that_nobody_knows(self, refuses_here: Refuses, tmp_path: Path) -> None:
        assert "method 'magic' is unknown" in self.optimize(
            refuses_here, tmp_path, self.plan(self.QUERY, method="magic")
        )

    def test_is_missing(self, refuses_here: Refuses, model: Path, tmp_path: Path) -> None:
        sentence = refuses_here("optimize", model, "-o", tmp_path / "out", "--plan", tmp_path / "none.json")
        assert "cannot read the plan" in sentence


class TestCalibration:
    def optimize(self, refuses_here: Refuses, model: Path, source: Path, *options: str | Path) -> str:
        return refuses_here("optimize", model, "-o", model.parent / "out", "--calibration", source, *options)

    @pytest.fixture
    def text(self, tmp_path: Path) -> Path:
        (tmp_path / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
        return tmp_path / "text"

    def test_source_is_missing(self, refuses_here: Refuses, model: Path, tmp_path: Path) -> None:
        assert "none.txt" in self.optimize(refuses_here, model, tmp_path / "none.txt")
        assert "none.npz" in self.optimize(refuses_here, model, tmp_path / "none.npz")

    def test_row_is_empty(self, refuses: Refuses, model: Path, text: Path) -> None:
        text.write_text("a good film\n\na bad film\n", encoding="utf-8")
        assert "text line 2 is empty" in self.optimize(refuses, model, text)

    def test_row_of_a_task_is_malformed(self, refuses: Refuses, model: Path, tmp_path: Path) -> None:
        (tmp_path / "train.tsv").write_text("sentence\tlabel\na good film\t1\na bad film\n", encoding="utf-8")
        sentence = refuses("optimize", model, "-o", tmp_path / "out", "--task", "sst2", "--data", tmp_path)
        assert "train.tsv line 3 has 1 fields; the header names 2" in sentence

    def test_lacks_a_tokenizer(self, refuses: Refuses, model: Path, text: Path) -> None:
        (model / "tokenizer.json").unlink()
        sentence = self.optimize(refuses, model, text)
        assert "tokenizer.json does not exist" in sentence
        assert "--tokenizer" in sentence

    def test_has_the_tokenizer_of_another_model(self, refuses: Refuses, model: Path, text: Path) -> None:
        other = write_tokenizer(text.parent / "other", [*WORDS, "unseen"])
        sentence = self.optimize(refuses, model, text, "--tokenizer", other)
        assert "other/tokenizer.json makes token ids up to 40, but" in sentence

    def test_arrays_are_not_those_of_the_model(self, refuses_here: Refuses, model: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "inputs.npz", input_ids=np.ones((2, 3), np.int64))
        sentence = self.optimize(refuses_here, model, tmp_path / "inputs.npz")
        assert "holds input_ids; the model takes input_ids, attention_mask" in sentence
