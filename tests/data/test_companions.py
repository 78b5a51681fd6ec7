"""Which files go along with a model: those that modules.json, the configuration and the tokenizer name, wherever they lie."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from squeeze_onnx.data.companions import companions, copy_companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.support.errors import RepositoryError
from tests.folders import snapshot

ENCODER = {
    "config.json": {"model_type": "bert"},
    "generation_config.json": {},
    "preprocessor_config.json": {},
    "ort_config.json": {},
    "tokenizer.json": {},
    "tokenizer_config.json": {},
    "special_tokens_map.json": {},
    "added_tokens.json": {},
    "vocab.json": {},
    "vocab.txt": {},
    "merges.txt": {},
    "spiece.model": {},
    "sentencepiece.bpe.model": {},
    "source.spm": {},
    "qwen.tiktoken": {},
    "chat_template.jinja": {},
    "sentence_bert_config.json": {},
    "sentence_xlm-roberta_config.json": {},
    "config_sentence_transformers.json": {},
}
OTHERS = (
    *(
        "notes.txt",
        "README.md",
        "report.json",
        "plan.json",
        "model.onnx.data",
        "model.safetensors",
        "pytorch_model.bin",
    ),
    *(".git/config", "tokenizer.onnx"),
)


def write(folder: Path, files: Iterable[str]) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(ENCODER.get(name, {})))


def write_modules(folder: Path, *entries: tuple[str, str]) -> None:
    modules = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(entries)]
    (folder / "modules.json").write_text(json.dumps(modules))


def names(folder: Path) -> set[str]:
    return {str(name) for name in companions(find_repository(folder))}


def test_what_a_loader_needs_is_copied_and_nothing_else(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source, (*ENCODER, *OTHERS, "LICENSE", "NOTICE.txt", "model.onnx"))
    target.mkdir()
    copy_companions(find_repository(source), target)
    copied = {name for name, content in snapshot(target).items() if content is not None}
    assert copied == {*ENCODER, "LICENSE", "NOTICE.txt"}
    assert (target / "config.json").read_bytes() == (source / "config.json").read_bytes()


def test_every_module_comes_with_all_its_files(tmp_path: Path) -> None:
    write(tmp_path, ["model.onnx", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin"])
    write(
        tmp_path, ["2_Dense/model.safetensors", "3_Asym/query/config.json", "4_Other/config.json", "2_Dense/.cache/x"]
    )
    write_modules(
        tmp_path, ("", "a.Transformer"), ("1_Pooling", "a.Pooling"), ("2_Dense", "a.Dense"), ("3_Asym", "a.Asym")
    )
    assert names(tmp_path) == {
        *("modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/pytorch_model.bin"),
        *("2_Dense/model.safetensors", "3_Asym/query/config.json"),
    }


def test_the_pooling_comes_along_without_a_list_of_modules(tmp_path: Path) -> None:
    write(tmp_path, ["model.onnx", "1_Pooling/config.json", "1_Pooling/notes.txt"])
    assert names(tmp_path) == {"1_Pooling/config.json"}


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", "a/../../b", "..\\up"])
def test_a_module_outside_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    write(tmp_path, ["model.onnx", "config.json"])
    write_modules(tmp_path, ("", "a.Transformer"), (path, "a.Dense"))
    with pytest.raises(RepositoryError, match="leads out of the folder"):
        companions(find_repository(tmp_path))


def test_code_that_the_configuration_names_comes_along_with_what_it_imports(tmp_path: Path) -> None:
    write(tmp_path, ["model.onnx"])
    reference = {"AutoConfig": "configuration_x.Config", "AutoModel": "someone/else--modeling_y.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": reference}))
    (tmp_path / "configuration_x.py").write_text("from .helper import thing\nimport os\n")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "setup.py").write_text("")
    assert names(tmp_path) == {"config.json", "configuration_x.py", "helper.py"}


def test_a_vocabulary_by_another_name_comes_along_if_the_settings_name_it(tmp_path: Path) -> None:
    write(tmp_path, ["model.onnx", "words.data", "other.data"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"files": {"main": "words.data", "long": "x" * 5000}}))
    assert names(tmp_path) == {"tokenizer_config.json", "words.data"}


@pytest.mark.parametrize("inner", ["onnx", "0_Transformer", "0_Transformer/onnx"])
def test_companions_keep_their_places(tmp_path: Path, inner: str) -> None:
    encoder = "0_Transformer/" if inner.startswith("0_") else ""
    write(
        tmp_path, [f"{inner}/model.onnx", f"{encoder}config.json", f"{encoder}tokenizer.json", "1_Pooling/config.json"]
    )
    write(tmp_path, [f"{inner}/quantize_config.json"])
    write_modules(tmp_path, (encoder.rstrip("/"), "a.Transformer"), ("1_Pooling", "a.Pooling"))
    assert names(tmp_path) == {
        *(f"{encoder}config.json", f"{encoder}tokenizer.json", "1_Pooling/config.json", "modules.json"),
        f"{inner}/quantize_config.json",
    }


def test_a_folder_without_companions_adds_nothing(tmp_path: Path) -> None:
    write(tmp_path / "source", ["model.onnx"])
    (tmp_path / "target").mkdir()
    copy_companions(find_repository(tmp_path / "source"), tmp_path / "target")
    assert snapshot(tmp_path / "target") == {}


def test_links_are_copied_as_the_files_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("{}")
    write(tmp_path / "source", ["model.onnx"])
    (tmp_path / "source" / "tokenizer.json").symlink_to("../blob")
    (tmp_path / "target").mkdir()
    copy_companions(find_repository(tmp_path / "source"), tmp_path / "target")
    assert not (tmp_path / "target" / "tokenizer.json").is_symlink()
    assert (tmp_path / "target" / "tokenizer.json").read_text() == "{}"
