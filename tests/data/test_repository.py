"""Where the files of a model lie: three layouts, found from a folder or from the file inside it."""

import json
from pathlib import Path, PurePosixPath

import pytest

from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.support.errors import RepositoryError

CONFIG = json.dumps({"model_type": "bert"})


def lay_out(root: Path, *files: str, encoder: str | None = None) -> None:
    """Write ``files``, config.json with content, and with an ``encoder`` a modules.json whose first module lies there."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(CONFIG if name.endswith("config.json") else "")
    if encoder is not None:
        entries = [{"path": encoder, "type": "sentence_transformers.models.Transformer"}]
        entries.append({"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
        (root / "modules.json").write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("file", "encoder"),
    [
        ("model.onnx", ""),
        ("onnx/model.onnx", ""),
        ("onnx/model_quantized.onnx", ""),
        ("0_Transformer/model.onnx", "0_Transformer"),
        ("0_Transformer/onnx/model.onnx", "0_Transformer"),
    ],
)
class TestSentenceTransformers:
    def test_is_found_from_above_and_from_the_file(self, tmp_path: Path, file: str, encoder: str) -> None:
        lay_out(tmp_path, file, f"{encoder}/config.json".lstrip("/"), encoder=encoder)
        for given in (tmp_path, tmp_path / file):
            found = find_repository(given)
            assert found.root == tmp_path
            assert found.model_path == tmp_path / file
            assert found.find("config.json") == tmp_path / encoder / "config.json"
            assert [module.kind for module in found.modules] == ["Transformer", "Pooling"]

    def test_out_has_the_same_layout(self, tmp_path: Path, file: str, encoder: str) -> None:
        lay_out(tmp_path, file, encoder=encoder)
        expected = Path("out", PurePosixPath(file).parent, "model.onnx")
        assert find_repository(tmp_path).place_in(Path("out")) == expected

    def test_is_found_from_a_relative_path(
        self, tmp_path: Path, file: str, encoder: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lay_out(tmp_path, file, encoder=encoder)
        monkeypatch.chdir((tmp_path / file).parent)
        assert find_repository(Path(Path(file).name)).root.absolute() == tmp_path


class TestWithoutModules:
    @pytest.mark.parametrize("above", ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "config.json"])
    @pytest.mark.parametrize("folder", ["onnx", "exported"])
    def test_a_bare_file_belongs_to_what_lies_one_folder_up(self, tmp_path: Path, above: str, folder: str) -> None:
        lay_out(tmp_path, f"{folder}/model.onnx", above)
        assert find_repository(tmp_path / folder / "model.onnx").root == tmp_path

    def test_a_file_with_companions_of_its_own_stays_where_it_is(self, tmp_path: Path) -> None:
        lay_out(tmp_path, "onnx/model.onnx", "onnx/config.json", "config.json", "tokenizer.json")
        assert find_repository(tmp_path / "onnx" / "model.onnx").root == tmp_path / "onnx"

    def test_a_configuration_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        lay_out(tmp_path, "models/model.onnx")
        for text in ('{"port": 80}', "no JSON", "[]"):
            (tmp_path / "config.json").write_text(text)
            assert find_repository(tmp_path / "models").root == tmp_path / "models"

    def test_modules_of_something_else_are_left_alone(self, tmp_path: Path) -> None:
        lay_out(tmp_path, "models/onnx/model.onnx")
        (tmp_path / "modules.json").write_text('{"javascript": true}')
        assert find_repository(tmp_path / "models").root == tmp_path / "models" / "onnx"

    def test_a_bare_file_is_a_repository(self, tmp_path: Path) -> None:
        lay_out(tmp_path, "a.onnx")
        found = find_repository(tmp_path / "a.onnx")
        assert (found.root, found.modules, found.place_in(Path("out"))) == (tmp_path, (), Path("out/model.onnx"))


def test_a_file_is_looked_for_beside_the_encoder_first(tmp_path: Path) -> None:
    lay_out(tmp_path, "onnx/model.onnx", "onnx/tokenizer.json", "config.json", encoder="")
    assert find_repository(tmp_path).find("tokenizer.json") == tmp_path / "onnx" / "tokenizer.json"
    lay_out(tmp_path, "tokenizer.json")
    assert find_repository(tmp_path).find("tokenizer.json") == tmp_path / "tokenizer.json"
    assert find_repository(tmp_path).find("spiece.model") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "not a list of modules"),
        ("[]", "not a list of modules"),
        ("no", "not a readable JSON file"),
        ('[{"type": "a.Transformer"}]', "a type and a path"),
        ('["a"]', "a type and a path"),
    ],
)
def test_malformed_modules_of_the_repository_are_refused(tmp_path: Path, text: str, why: str) -> None:
    lay_out(tmp_path, "model.onnx", "config.json")
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(RepositoryError, match=why) as caught:
        find_repository(tmp_path)
    assert str(tmp_path / "modules.json") in str(caught.value)
