import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.support.errors import BundleError, ModelError, OptionError, OutputError, TokenizerError
from squeeze_onnx.workflows.optimize import optimize
from squeeze_onnx.workflows.packaging.bundle import PackageConfig, package
from squeeze_onnx.workflows.packaging.verification import Bundle, verify
from tests.folders import snapshot
from tests.text_models import write_classifier
from tests.tiny_encoder import encoder_model, write_model_folder

FILES = {"config.json", "model.onnx", "model.ort", "required_operators.config", "run.py", "tokenizer.json"}
BOTH = PackageConfig(form="both")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "model")


@pytest.fixture
def bundle(model: Path, tmp_path: Path) -> Bundle:
    """Package the tiny encoder into the folder ``bundle``."""
    return package(model, tmp_path / "bundle", BOTH)


def test_a_bundle_holds_all_that_a_device_needs(bundle: Bundle, model: Path) -> None:
    found = snapshot(bundle.path)
    assert set(found) == {*FILES, "manifest.json"}
    for name in ("model.onnx", "tokenizer.json", "config.json"):
        assert found[name] == (model / name).read_bytes()
    assert set(bundle.manifest.files) == FILES
    assert [answer.model for answer in bundle.answers] == ["model.ort", "model.onnx"]


def test_the_manifest_describes_the_model(bundle: Bundle) -> None:
    document = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    assert document == bundle.manifest.document
    assert document["model"]["opset"] == {"ai.onnx": 17}
    assert {"MatMul", "Softmax", "Gather"} <= set(document["model"]["operators"]["ai.onnx"])
    assert document["text"]["head"] == "token_embeddings"
    assert (document["licence"], document["measured"]) == (None, {})


def test_it_reads_as_was_said(model: Path, tmp_path: Path) -> None:
    """A limit of tokens and the output that is the answer, as `validate` takes them."""
    said = package(model, tmp_path / "said", PackageConfig(max_tokens=24, answer="last_hidden_state"))
    assert said.manifest.document["text"]["max_tokens"] == 24
    assert verify(tmp_path / "said").manifest.asked.answer == "last_hidden_state"
    with pytest.raises(OptionError, match=r"`answer` logits is no output of .*model\.onnx"):
        package(model, tmp_path / "none", PackageConfig(answer="logits"))


@pytest.mark.parametrize("name", ["b", "b.zip"], ids=["folder", "archive"])
def test_equal_input_gives_equal_bytes(model: Path, tmp_path: Path, name: str) -> None:
    first, second = (package(model, tmp_path / place / name, BOTH) for place in ("one", "another"))
    assert first.sha256 == second.sha256
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "another")


def test_folder_and_archive_hold_the_same(bundle: Bundle, model: Path, tmp_path: Path) -> None:
    archived = package(model, tmp_path / "b.zip", BOTH)
    assert archived.sha256 == bundle.sha256
    unpacked = verify(tmp_path / "b.zip", sha256=bundle.sha256, into=tmp_path / "unpacked")
    assert unpacked.manifest == bundle.manifest
    assert snapshot(tmp_path / "unpacked") == snapshot(bundle.path)


@pytest.mark.parametrize(
    ("config", "form", "absent"),
    [(None, "onnx", {"model.ort", "required_operators.config"}), (PackageConfig(form="ort"), "ort", {"model.onnx"})],
    ids=["unless asked for, onnx", "ort"],
)
def test_one_form_of_the_model_does(
    model: Path, tmp_path: Path, config: PackageConfig | None, form: str, absent: set[str]
) -> None:
    bundle = package(model, tmp_path / "b", config)
    assert set(bundle.manifest.files) == FILES - absent
    assert bundle.manifest.models == (f"model.{form}",)
    assert verify(bundle.path).sha256 == bundle.sha256


def test_tables_in_four_bits_answer_in_both_forms(model: Path, tmp_path: Path) -> None:
    optimize(model, tmp_path / "small", OptimizeConfig(method="svd", keep=0.5, simulations=1, precision="int8-int4"))
    bundle = package(tmp_path / "small", tmp_path / "b", BOTH)
    assert "GatherBlockQuantized" in bundle.manifest.document["model"]["operators"]["com.microsoft"]
    assert "GatherBlockQuantized" in (tmp_path / "b" / "required_operators.config").read_text()
    assert [answer.model for answer in bundle.answers] == ["model.ort", "model.onnx"]


def test_external_data_comes_along(tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path / "model")
    onnx.save(encoder_model(), folder / "model.onnx", save_as_external_data=True, location="weights.bin")
    bundle = package(folder, tmp_path / "b", BOTH)
    assert set(bundle.manifest.files) == {*FILES, "weights.bin"}
    assert set(bundle.manifest.document["model"]["sha256"]) == {"model.onnx", "weights.bin"}
    assert np.array_equal(verify(bundle.path).answers[0].values, bundle.answers[0].values)


def test_labels_are_those_of_the_classifier(tmp_path: Path) -> None:
    vectors = {"good": (-1.0, 1.0), "bad": (1.0, -1.0)}
    named = write_classifier(tmp_path / "named", vectors, id2label={"0": "negative", "1": "positive"})
    plain = write_classifier(tmp_path / "plain", vectors)
    assert package(named, tmp_path / "a").manifest.document["text"]["labels"] == ["negative", "positive"]
    assert package(plain, tmp_path / "b").manifest.document["text"]["labels"] == ["0", "1"]


class TestLicence:
    def test_stands_in_the_model_card(self, model: Path, tmp_path: Path) -> None:
        (model / "README.md").write_text("---\ntags:\n- bert\nlicense: apache-2.0\n---\nlicense: of another kind\n")
        assert package(model, tmp_path / "b").manifest.document["licence"] == "apache-2.0"

    def test_is_said(self, model: Path, tmp_path: Path) -> None:
        (model / "README.md").write_text("---\nlicense: mit\n---\n")
        bundle = package(model, tmp_path / "b", PackageConfig(licence="Apache-2.0"))
        assert bundle.manifest.document["licence"] == "Apache-2.0"

    def test_is_passed_on_as_a_file(self, model: Path, tmp_path: Path) -> None:
        (model / "LICENSE").write_text("Do as you like.")
        assert "LICENSE" in package(model, tmp_path / "b").manifest.files

    def test_is_unknown_where_a_card_says_nothing(self, model: Path, tmp_path: Path) -> None:
        (model / "README.md").write_text("# license: none\n")
        assert package(model, tmp_path / "b").manifest.document["licence"] is None


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"target": "cloud"}, "`target` is one of edge; got 'cloud'"),
        ({"form": "tflite"}, "`form` is one of both, onnx"),
    ],
    ids=["target", "form"],
)
def test_unknown_words_are_refused(options: dict[str, str], fault: str) -> None:
    with pytest.raises(OptionError, match=fault):
        PackageConfig(**options)  # type: ignore[arg-type]


def test_a_model_without_a_tokenizer_makes_no_bundle(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="`tokenizer`"):
        package(model, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_lies_there_stays_unless_forced(bundle: Bundle, model: Path, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("mine")
    for out in (bundle.path, tmp_path / "b.zip"):
        before = snapshot(tmp_path)
        with pytest.raises(OutputError, match="`force`"):
            package(model, out)
        assert snapshot(tmp_path) == before
        assert package(model, out, BOTH, force=True).sha256 == bundle.sha256


def test_a_bundle_does_not_replace_its_model(model: Path) -> None:
    with pytest.raises(OutputError, match="would replace the input"):
        package(model, model, force=True)


class TestVerify:
    @pytest.mark.parametrize("name", sorted(FILES))
    def test_a_changed_byte_is_refused_by_name(self, bundle: Bundle, name: str) -> None:
        content = bytearray((bundle.path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle.path / name).write_bytes(content)
        with pytest.raises(BundleError, match=f"{name} is not what was packaged"):
            verify(bundle.path)

    @pytest.mark.parametrize("name", sorted(FILES))
    def test_a_file_that_is_cut_off_is_refused_by_name(self, bundle: Bundle, name: str) -> None:
        (bundle.path / name).write_bytes((bundle.path / name).read_bytes()[:-1])
        with pytest.raises(BundleError, match=f"{name} has .* bytes, not"):
            verify(bundle.path)

    def test_a_missing_file_is_refused_by_name(self, bundle: Bundle) -> None:
        (bundle.path / "run.py").unlink()
        with pytest.raises(BundleError, match=r"run\.py is missing"):
            verify(bundle.path)

    def test_a_file_too_many_is_refused_by_name(self, bundle: Bundle) -> None:
        (bundle.path / "numpy.py").write_text("import this")
        with pytest.raises(BundleError, match=r"numpy\.py is not in manifest\.json"):
            verify(bundle.path)

    def test_a_link_is_refused_by_name(self, bundle: Bundle, tmp_path: Path) -> None:
        (bundle.path / "run.py").rename(tmp_path / "elsewhere.py")
        (bundle.path / "run.py").symlink_to(tmp_path / "elsewhere.py")
        with pytest.raises(BundleError, match=r"run\.py is a link"):
            verify(bundle.path)

    def test_a_manifest_made_to_fit_is_told_by_its_own_digest(self, bundle: Bundle) -> None:
        manifest = bundle.path / "manifest.json"
        manifest.write_text(manifest.read_text(encoding="utf-8").replace('"licence": null', '"licence": "mine"'))
        verify(bundle.path)
        with pytest.raises(BundleError, match="not the one that was asked for"):
            verify(bundle.path, sha256=bundle.sha256)

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (b"", "is not JSON"),
            (b'{"format": "squeeze-onnx/bundle/1", "fi', "is not JSON"),
            (b"[" * 100_000, "is not JSON"),
            (b"\xff\xfe", "is not JSON"),
            (b"[]", "is not of the format"),
            (b'{"format": "squeeze-onnx/bundle/2"}', "is not of the format"),
            (b'{"format": "squeeze-onnx/bundle/1"}', "does not list files"),
            (b'{"format": "squeeze-onnx/bundle/1", "files": ["a"], "models": ["a"]}', "does not list files"),
            (b'{"format": "squeeze-onnx/bundle/1", "files": {"a": {"bytes": "x"}}, "models": []}', "does not list"),
            (b'{"format": "squeeze-onnx/bundle/1", "files": {}, "models": []}', "names no model"),
            (
                b'{"format": "squeeze-onnx/bundle/1", "files": {"../a": {"bytes": 1, "sha256": ""}}, "models": ["../a"]}',
                "no plain path",
            ),
        ],
        ids=["empty", "cut off", "deep", "bytes", "list", "later", "bare", "names", "words", "no model", "outside"],
    )
    def test_a_manifest_that_is_none_is_refused(self, bundle: Bundle, content: bytes, fault: str) -> None:
        (bundle.path / "manifest.json").write_bytes(content)
        with pytest.raises(BundleError, match=fault):
            verify(bundle.path)

    def test_a_folder_that_is_no_bundle(self, model: Path) -> None:
        with pytest.raises(BundleError, match=r"holds no manifest\.json"):
            verify(model)

    def test_what_is_refused_is_not_unpacked(self, model: Path, tmp_path: Path) -> None:
        archive = package(model, tmp_path / "b.zip").path
        with pytest.raises(BundleError, match="asked for"):
            verify(archive, sha256="0" * 64, into=tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "model"]

    def test_a_folder_is_not_unpacked(self, bundle: Bundle, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="nothing to unpack"):
            verify(bundle.path, into=tmp_path / "out")

    def test_forms_that_differ_are_no_bundle(self, bundle: Bundle, tmp_path: Path) -> None:
        other = write_model_folder(tmp_path / "other")
        doubled = onnx.load(other / "model.onnx")
        doubled.graph.initializer[0].raw_data = (
            3 * np.frombuffer(doubled.graph.initializer[0].raw_data, np.float32)[::-1]
        ).tobytes()
        content = doubled.SerializeToString()
        (bundle.path / "model.onnx").write_bytes(content)
        document = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
        document["files"]["model.onnx"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (bundle.path / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
        with pytest.raises(ModelError, match=r"model\.ort and model\.onnx in .* differ"):
            verify(bundle.path)
