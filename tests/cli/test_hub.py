"""Models from a hub: what is fetched, what messages call them, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from squeeze_onnx.data.hub import HubModel, hub_model
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.conftest import RunCli
from tests.local_hub import COMMIT, LocalHub, local_hub, use_hub
from tests.tiny_encoder import write_model_folder

ENCODER = {"tokenizer.json", "config.json", "modules.json", "1_Pooling/config.json"}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make `mine/embedder`, as the browser library has it, and others with a model elsewhere, outside, in several or no files."""
    folder = tmp_path_factory.mktemp("hub")
    embedder = write_model_folder(folder / "mine/embedder", layers=1)
    (embedder / "onnx").mkdir()
    (embedder / "model.onnx").rename(embedder / "onnx/model.onnx")
    for name in ("onnx/model_quantized.onnx", "model.safetensors", "2_Dense/model.safetensors", "README.md"):
        (embedder / name).parent.mkdir(exist_ok=True)
        (embedder / name).write_bytes(b"of no use" if name[0] != "2" else b"weights")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for path, kind in kinds.items()]
    (embedder / "modules.json").write_text(json.dumps(modules))
    (embedder / "1_Pooling").mkdir()
    (embedder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    model = onnx.load(embedder / "onnx/model.onnx")
    outside = folder / "mine/large"
    outside.mkdir()
    onnx.save(model, outside / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    for name in ("mine/several/a.onnx", "mine/several/onnx/b.onnx", "mine/torch/model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def hub(repositories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub(repositories) as served:
        use_hub(served, tmp_path / "cache", monkeypatch)
        yield served


def test_what_belongs_to_one_model_is_fetched(hub: LocalHub) -> None:
    with hub_model("hf://mine/embedder@v2") as folder:
        assert (folder / "onnx/model.onnx").is_file()
    assert hub.fetched - {"config.json"} >= {*ENCODER, "onnx/model.onnx", "2_Dense/model.safetensors"} - {"config.json"}
    assert not hub.fetched & {"onnx/model_quantized.onnx", "model.safetensors", "README.md"}


def test_what_was_fetched_once_is_read_without_the_hub(hub: LocalHub) -> None:
    with hub_model("hf://mine/embedder") as first:
        asked = len(hub.asked)
    hub.server.server_close()
    with hub_model("hf://mine/embedder", offline=True) as second:
        assert second == first
    assert len(hub.asked) == asked


def test_weights_outside_lie_beside_the_model(hub: LocalHub) -> None:
    """The cache of huggingface_hub has links, which lead out of the folder of the model."""
    with hub_model("hf://mine/large") as folder:
        assert (folder / "weights.bin").is_file()
        assert not (folder / "weights.bin").is_symlink()
        assert folder.name == COMMIT


@pytest.mark.parametrize(
    ("name", "offline", "sentence"),
    [
        ("hf://mine/absent", False, "hf://mine/absent is not on http"),
        ("hf://mine/embedder@v9", False, "the repository has no revision 'v9'"),
        ("hf://mine/several", False, "name one, such as hf://mine/several/a.onnx, of a.onnx, onnx/b.onnx"),
        (
            "hf://mine/several/c.onnx",
            False,
            "hf://mine/several/c.onnx is not in the repository; it holds a.onnx, onnx/b.onnx",
        ),
        ("hf://mine/torch", False, "optimum-cli export onnx -m mine/torch DIR"),
        ("hf://mine/embedder", True, "hf://mine/embedder is not in the cache of huggingface_hub"),
    ],
)
def test_what_cannot_be_had_is_told(hub: LocalHub, name: str, offline: bool, sentence: str) -> None:
    with pytest.raises(ModelError) as caught, hub_model(name, offline=offline):
        pass
    assert sentence in str(caught.value)


def test_a_hub_that_does_not_answer_is_told(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with (
        pytest.raises(ModelError, match=r"cannot be fetched from http://127.0.0.1:1 .*`offline`"),
        hub_model("hf://a/b"),
    ):
        pass


@pytest.mark.parametrize(
    "name", ["hf://", "hf://name", "hf://a/b@", "hf://a/../c", "hf://a/b/model.bin", "hf://a/b/../c.onnx"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="write hf://org/name"):
        HubModel.parse(name)


def test_commands_take_a_name_and_call_the_model_by_it(hub: LocalHub, call_cli: RunCli, tmp_path: Path) -> None:
    """OUT has the layout of the repository, reports say where the model is from, and the next command can be pasted."""
    out = tmp_path / "out"
    done = call_cli("optimize", "hf://mine/embedder@v2", "-o", out, "--keep", "0.5", "--method", "svd")
    assert (done.returncode, done.stderr) == (0, "")
    # Its Dense cannot be read, so nothing can score it.
    assert done.stdout.endswith(f"Next: squeeze-onnx bench hf://mine/embedder@v2 {out}\n")
    assert (out / "onnx/model.onnx").is_file()
    assert (out / "2_Dense/model.safetensors").read_bytes() == b"weights"
    assert json.loads((out / "report.json").read_text())["model"] == dict.fromkeys(
        ("name", "path"), "hf://mine/embedder@v2"
    )
    analyzed = call_cli("analyze", "hf://mine/embedder@v2", "--offline")
    assert analyzed.stdout.endswith("Next: squeeze-onnx optimize hf://mine/embedder@v2 -o embedder-small --keep 0.75\n")


def test_errors_name_the_model_as_it_was_given(hub: LocalHub, call_cli: RunCli) -> None:
    done = call_cli("analyze", "hf://mine/several/a.onnx", "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith("squeeze-onnx: error: hf://mine/several/a.onnx is not an ONNX file")


@pytest.mark.parametrize("given", ["mine/embedder@v2", "https://hub.example/mine/embedder@v2"])
def test_a_name_without_its_scheme_is_told_from_a_path(call_cli: RunCli, given: str) -> None:
    done = call_cli("validate", given, ".", "--quiet")
    assert (done.returncode, done.stdout) == (2, "")
    told = f"{given} does not exist here; a repository of that name on a hub is given as hf://mine/embedder@v2"
    assert done.stderr == f"squeeze-onnx: error: {told}\n"
