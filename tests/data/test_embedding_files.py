"""What sentence-transformers' files say of an embedding, in the forms that its versions write, and what is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from squeeze_onnx.data.embedding import Activation, DenseLayer, Embedding, LayerNorm, Normalize, Pooling
from squeeze_onnx.data.embedding_files import EmbeddingOptions, read_embedding
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.support.errors import OptionError, RepositoryError
from tests.sentence_models import FLAGS, IDENTITY, MODELS, DenseModule, Published, write, write_sentence_model
from tests.tiny_encoder import HIDDEN


def embedding_of(folder: Path, **asked: str) -> Embedding:
    return read_embedding(find_repository(folder), EmbeddingOptions(**asked))


def change(path: Path, **values: Any) -> None:
    document = json.loads(path.read_text()) | values
    write(path, {key: value for key, value in document.items() if value is not None})


def add_module(folder: Path, path: str, kind: str) -> None:
    entries = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", [*entries, {"path": path, "type": kind}])


class TestPooling:
    @pytest.mark.parametrize("by_flags", [True, False], ids=["a flag each", "pooling_mode"])
    @pytest.mark.parametrize("name", FLAGS)
    def test_each_is_read_in_both_forms(self, tmp_path: Path, name: str, by_flags: bool) -> None:
        write_sentence_model(tmp_path, Published((name,), by_flags=by_flags))
        found = embedding_of(tmp_path)
        assert (found.pooling, found.source) == ((Pooling(name),), "1_Pooling/config.json")

    def test_several_flags_are_joined_in_the_order_of_the_package(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(("lasttoken", "mean", "cls")))
        assert embedding_of(tmp_path).pooling == (Pooling.CLS, Pooling.MEAN, Pooling.LAST)

    def test_a_list_is_joined_in_its_own_order(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(("lasttoken", "mean", "cls"), by_flags=False))
        assert embedding_of(tmp_path).pooling == (Pooling.LAST, Pooling.MEAN, Pooling.CLS)

    def test_a_file_without_any_flag_means_the_mean(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(()))
        assert embedding_of(tmp_path).pooling == (Pooling.MEAN,)

    def test_the_folder_is_the_one_that_the_modules_name(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(("cls",)))
        (tmp_path / "1_Pooling").rename(tmp_path / "pooling")
        write(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "max"})
        text = (tmp_path / "modules.json").read_text().replace("1_Pooling", "pooling")
        (tmp_path / "modules.json").write_text(text)
        assert (embedding_of(tmp_path).pooling, embedding_of(tmp_path).source) == (
            (Pooling.CLS,),
            "pooling/config.json",
        )

    def test_the_file_is_read_without_a_list_of_modules_too(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(("cls",)))
        (tmp_path / "modules.json").unlink()
        assert embedding_of(tmp_path).pooling == (Pooling.CLS,)

    def test_without_a_file_the_mean_is_assumed_and_the_option_counts(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").touch()
        assert embedding_of(tmp_path) == Embedding()
        assert embedding_of(tmp_path).source is None
        found = embedding_of(tmp_path, pooling="cls+lasttoken")
        assert (found.pooling, found.source) == ((Pooling.CLS, Pooling.LAST), "`pooling`")

    def test_an_option_that_contradicts_the_file_is_refused(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(("cls",)))
        assert embedding_of(tmp_path, pooling="cls").pooling == (Pooling.CLS,)
        with pytest.raises(OptionError, match=r"1_Pooling/config\.json says that the pooling is cls, not mean"):
            embedding_of(tmp_path, pooling="mean")

    @pytest.mark.parametrize("text", ["first", "", "mean,cls", "mean+"])
    def test_an_unknown_option_is_refused(self, text: str) -> None:
        with pytest.raises(OptionError, match="`pooling` is none, one of cls, max, mean"):
            EmbeddingOptions(pooling=text)


class TestModules:
    def test_dense_modules_have_their_weights_activation_and_place(self, tmp_path: Path) -> None:
        told = Published(dense=(DenseModule(8), DenseModule(5, IDENTITY, bias=False)))
        first, second, last = embedding_of(write_sentence_model(tmp_path, told)).modules
        assert isinstance(first, DenseLayer)
        assert isinstance(second, DenseLayer)
        tensors = load_file(tmp_path / "2_Dense" / "model.safetensors")
        np.testing.assert_array_equal(first.weight, tensors["linear.weight"].T)
        np.testing.assert_array_equal(first.bias, tensors["linear.bias"])
        assert (first.activation, second.activation, second.bias) == (Activation.TANH, Activation.IDENTITY, None)
        assert (first.in_features, first.out_features, second.out_features) == (HIDDEN, 8, 5)
        assert last == Normalize()

    def test_the_function_is_tanh_unless_the_file_names_another(self, tmp_path: Path) -> None:
        [module] = embedding_of(
            write_sentence_model(tmp_path, Published(dense=(DenseModule(8, None),), normalized=False))
        ).modules
        assert isinstance(module, DenseLayer)
        assert module.activation is Activation.TANH

    def test_layer_norm_and_dropout_are_known(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(normalized=False))
        add_module(tmp_path, "2_Dropout", f"{MODELS}.Dropout")
        add_module(tmp_path, "3_LayerNorm", f"{MODELS}.LayerNorm")
        write(tmp_path / "3_LayerNorm" / "config.json", {"dimension": HIDDEN})
        tensors = {"norm.weight": np.ones(HIDDEN, np.float32), "norm.bias": np.zeros(HIDDEN, np.float32)}
        save_file(tensors, tmp_path / "3_LayerNorm" / "model.safetensors")
        [module] = embedding_of(tmp_path).modules
        assert isinstance(module, LayerNorm)

    def test_types_are_told_by_their_last_part(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published())
        text = (tmp_path / "modules.json").read_text()
        text = text.replace(f"{MODELS}.Pooling", "sentence_transformers.sentence_transformer.modules.pooling.Pooling")
        text = text.replace(f"{MODELS}.Normalize", "sentence_transformers.base.modules.normalize.Normalize")
        (tmp_path / "modules.json").write_text(text)
        assert embedding_of(tmp_path).modules == (Normalize(),)

    def test_a_residual_connection_is_read(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(dense=(DenseModule(8),)))
        change(tmp_path / "2_Dense" / "config.json", use_residual=True)
        tensors = load_file(tmp_path / "2_Dense" / "model.safetensors")
        residual = np.ones((8, HIDDEN), np.float32)
        save_file(tensors | {"residual.weight": residual}, tmp_path / "2_Dense" / "model.safetensors")
        module = embedding_of(tmp_path).modules[0]
        assert isinstance(module, DenseLayer)
        assert module.adds_input
        np.testing.assert_array_equal(module.residual, residual.T)


def without_weights(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").unlink()


def with_weights_of_torch(folder: Path) -> None:
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")


def without_bias(folder: Path) -> None:
    path = folder / "2_Dense" / "model.safetensors"
    save_file({"linear.weight": load_file(path)["linear.weight"]}, path)


def with_other_names(folder: Path) -> None:
    save_file({"weight": np.zeros((2, 2), np.float32)}, folder / "2_Dense" / "model.safetensors")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "an unknown module": (
        lambda folder: add_module(folder, "3_CNN", f"{MODELS}.CNN"),
        r"modules\.json has a module CNN",
    ),
    "a second pooling": (lambda folder: add_module(folder, "1_Pooling", f"{MODELS}.Pooling"), "two modules that pool"),
    "no configuration of the pooling": (
        lambda folder: (folder / "1_Pooling" / "config.json").unlink(),
        r"1_Pooling/config\.json is missing",
    ),
    "an unknown pooling": (
        lambda folder: change(folder / "1_Pooling" / "config.json", pooling_mode="attention"),
        "pooling_mode is 'attention', not one of cls, max",
    ),
    "a broken configuration": (
        lambda folder: (folder / "2_Dense" / "config.json").write_text("["),
        r"2_Dense/config\.json is not a readable JSON file",
    ),
    "an unknown function": (
        lambda folder: change(folder / "2_Dense" / "config.json", activation_function="torch.nn.PReLU"),
        "activation_function 'torch.nn.PReLU' is not one of torch's Identity, Tanh",
    ),
    "a function that is not torch's": (
        lambda folder: change(folder / "2_Dense" / "config.json", activation_function="mine.Tanh"),
        "activation_function 'mine.Tanh' is not one of torch's",
    ),
    "a module of tokens": (
        lambda folder: change(folder / "2_Dense" / "config.json", module_input_name="token_embeddings"),
        "module_input_name is 'token_embeddings'",
    ),
    "no weights": (without_weights, r"2_Dense/model\.safetensors is missing"),
    "weights of PyTorch": (with_weights_of_torch, r"pytorch_model\.bin can be read by PyTorch only: .*save_pretrained"),
    "no bias": (without_bias, r"model\.safetensors has no linear\.bias"),
    "weights by other names": (with_other_names, r"has no linear\.bias|has no linear\.weight"),
    "prompts of another kind": (
        lambda folder: change(folder / "config_sentence_transformers.json", prompts=["query: "]),
        "prompts are texts by name",
    ),
    "an unknown default prompt": (
        lambda folder: change(folder / "config_sentence_transformers.json", default_prompt_name="passage"),
        "the default prompt 'passage' is none of query",
    ),
    "a number of dimensions that is none": (
        lambda folder: change(folder / "config_sentence_transformers.json", truncate_dim="many"),
        "truncate_dim is 'many'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_followed_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write_sentence_model(tmp_path, Published(dense=(DenseModule(8),), prompts={"query": "query: "}))
    spoil, message = REFUSED[name]
    spoil(tmp_path)
    with pytest.raises(RepositoryError, match=message) as caught:
        embedding_of(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_before_the_pooling_is_refused(tmp_path: Path) -> None:
    write_sentence_model(tmp_path, Published(dense=(DenseModule(8),)))
    entries = json.loads((tmp_path / "modules.json").read_text())
    write(tmp_path / "modules.json", [entries[0], entries[2], entries[1], entries[3]])
    with pytest.raises(RepositoryError, match="a module Dense before the pooling"):
        embedding_of(tmp_path)


def test_modules_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    write_sentence_model(tmp_path, Published(dense=(DenseModule(8), DenseModule(5))))
    (tmp_path / "3_Dense" / "model.safetensors").write_bytes((tmp_path / "2_Dense" / "model.safetensors").read_bytes())
    with pytest.raises(RepositoryError, match=f"returns 8 numbers and the next one takes {HIDDEN}"):
        embedding_of(tmp_path)


class TestPrompts:
    TOLD = Published(prompts={"query": "the good ", "passage": "", "other": "a film "}, default_prompt="query")

    def test_the_default_one_is_read_unless_another_is_asked_for(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, self.TOLD)
        assert embedding_of(tmp_path).prompt == "the good "
        assert embedding_of(tmp_path, prompt="other").prompt == "a film "
        assert embedding_of(tmp_path, prompt="passage").prompt == ""
        assert embedding_of(tmp_path, prompt="").prompt == ""
        assert embedding_of(tmp_path, prompt="find: ").prompt == "find: "

    def test_none_is_read_where_none_is_the_default_but_the_names_are_known(self, tmp_path: Path) -> None:
        write_sentence_model(tmp_path, Published(prompts=self.TOLD.prompts))
        found = embedding_of(tmp_path)
        assert (found.prompt, found.prompts) == ("", ("query", "other"))

    def test_its_tokens_are_counted_where_they_are_not_pooled(self, tmp_path: Path) -> None:
        write_sentence_model(
            tmp_path, Published(prompts=self.TOLD.prompts, default_prompt="query", include_prompt=False)
        )
        found = embedding_of(tmp_path)
        assert (found.prompt_tokens, found.unpooled) == (3, 3)  # [CLS] the good
        write_sentence_model(tmp_path / "pooled", self.TOLD)
        assert embedding_of(tmp_path / "pooled").unpooled == 0


def test_dimensions_are_those_that_the_model_was_cut_to(tmp_path: Path) -> None:
    write_sentence_model(tmp_path, Published(truncate_dim=7))
    assert embedding_of(tmp_path).dimensions == 7
