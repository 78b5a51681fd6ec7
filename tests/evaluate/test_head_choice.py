from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from squeeze_onnx.data.embedding import Activation, Normalize, Pooling
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.glue import TASKS
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    Head,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    TokenVectors,
    WordLogits,
)
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.support.errors import ModelError, OptionError, RepositoryError
from tests.sentence_models import IDENTITY, DenseModule, Published, write, write_reranker, write_sentence_model
from tests.tiny_encoder import HIDDEN

CLASSIFIER = ("BertForSequenceClassification",)


def session(**outputs: int | list[int | str | None]) -> Session:
    """Return a session whose outputs have these shapes; an int is a number of classes."""
    specs = tuple(
        ValueSpec(name, "tensor(float)", tuple(["batch", shape] if isinstance(shape, int) else shape))
        for name, shape in outputs.items()
    )
    return Session("model.onnx", "cpu", (), specs, None)


def choose(task: str | None, labels: tuple[str, ...] = (), **outputs: int | list[int | str | None]) -> Head:
    config = ModelConfig(path=Path("config.json"), architectures=CLASSIFIER, labels=labels)
    return choose_head(session(**outputs), config, None if task is None else TASKS[task])


class TestClassHeads:
    def test_logits_of_two_columns_are_classes(self) -> None:
        assert choose("sst2", logits=2) == ClassLogits("logits", (0, 1))

    def test_without_a_task_the_classes_stay_in_the_models_order(self) -> None:
        assert choose(None, ("b", "a"), logits=2) == ClassLogits("logits", (0, 1))

    def test_one_column_is_a_regression(self) -> None:
        assert choose("stsb", logits=1) == ScoreHead("logits")

    def test_a_classifier_may_call_its_output_otherwise(self) -> None:
        assert choose("sst2", linear_73=2) == ClassLogits("linear_73", (0, 1))

    def test_a_number_of_columns_that_varies_is_looked_up_in_the_config(self) -> None:
        assert choose("mnli", ("LABEL_0", "LABEL_1", "LABEL_2"), logits=["batch", "classes"]) == ClassLogits(
            "logits", (0, 1, 2)
        )

    def test_a_number_of_columns_that_nobody_knows_is_an_error(self) -> None:
        with pytest.raises(ModelError, match=r"model\.onnx: neither output 'logits' nor a config\.json says how many"):
            choose("mnli", logits=["batch", "classes"])

    def test_logits_of_three_dimensions_are_classes_of_tokens(self) -> None:
        assert choose(None, logits=["batch", "tokens", 9]) == TokenLogits("logits")
        assert choose(None, logits=["batch", "tokens", "classes"]) == TokenLogits("logits")

    def test_tokens_cannot_be_scored_on_a_task(self) -> None:
        with pytest.raises(
            OptionError, match=r"`task` sst2 asks about whole texts, but model\.onnx answers for every token"
        ):
            choose("sst2", logits=["batch", "tokens", 9])

    def test_many_classes_of_tokens_are_words(self) -> None:
        assert choose(None, logits=["batch", "tokens", 30522]) == WordLogits("logits")

    def test_logits_of_four_dimensions_are_nothing_known(self) -> None:
        with pytest.raises(
            ModelError, match="output 'logits' has 4 dimensions; logits have two, those of tokens three"
        ):
            choose(None, logits=["batch", "heads", "tokens", 9])


class TestLabelOrder:
    @pytest.mark.parametrize(
        ("task", "labels", "order"),
        [
            ("sst2", ("LABEL_0", "LABEL_1"), (0, 1)),
            ("sst2", ("0", "1"), (0, 1)),
            ("sst2", ("NEGATIVE", "POSITIVE"), (0, 1)),
            ("sst2", ("POS", "NEG"), (1, 0)),
            ("mnli", ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), (2, 1, 0)),
            ("mnli", ("contradiction", "entailment", "neutral"), (1, 2, 0)),
            ("rte", ("not_entailment", "entailment"), (1, 0)),
            ("wnli", ("entailment", "not-entailment"), (1, 0)),
            ("mrpc", ("equivalent", "not_equivalent"), (1, 0)),
            ("cola", ("acceptable", "unacceptable"), (1, 0)),
            ("qqp", ("not_duplicate", "duplicate"), (0, 1)),
        ],
    )
    def test_names_decide_if_they_say_anything(
        self, task: str, labels: tuple[str, ...], order: tuple[int, ...]
    ) -> None:
        assert choose(task, labels, logits=len(labels)) == ClassLogits("logits", order)

    def test_names_of_something_else_are_refused_with_both_lists(self) -> None:
        with pytest.raises(OptionError, match=r"sst2 has the labels negative, positive, but .* joy, anger"):
            choose("sst2", ("joy", "anger"), logits=2)

    def test_another_number_of_labels_is_refused_with_both(self) -> None:
        with pytest.raises(
            OptionError, match=r"`task` sst2 has 2 labels \(negative, positive\), but model\.onnx has 3 labels$"
        ):
            choose("sst2", logits=3)

    def test_classes_are_no_score(self) -> None:
        with pytest.raises(OptionError, match=r"`task` stsb has a score, but model\.onnx has 2 labels \(no, yes\)"):
            choose("stsb", ("no", "yes"), logits=2)

    def test_a_score_is_no_class(self) -> None:
        with pytest.raises(OptionError, match=r"`task` rte has 2 labels .* but model\.onnx has a score"):
            choose("rte", logits=1)


def encoder_head(task: str | None = "stsb", **outputs: list[int | str | None]) -> Head:
    return choose_head(session(**outputs), ModelConfig(), None if task is None else TASKS[task])


TOKENS: list[int | str | None] = ["batch", "tokens", 8]
POOLED: list[int | str | None] = ["batch", 8]


class TestEmbeddingHeads:
    def test_token_embeddings_are_pooled_outside(self) -> None:
        assert encoder_head(last_hidden_state=TOKENS) == TokenEmbeddings("last_hidden_state")

    def test_the_poolers_output_is_passed_over(self) -> None:
        assert encoder_head(pooler_output=POOLED, last_hidden_state=TOKENS) == TokenEmbeddings("last_hidden_state")

    def test_an_embedding_pooled_in_the_graph_comes_first(self) -> None:
        assert encoder_head(token_embeddings=TOKENS, sentence_embedding=POOLED) == SentenceEmbedding(
            "sentence_embedding"
        )

    @pytest.mark.parametrize("name", ["text_embeds", "dense_vecs", "embeddings", "image_embeds"])
    def test_a_name_that_says_embedding_says_where_it_is(self, name: str) -> None:
        """BGE-M3 returns vectors of tokens too, and CLIP the hidden states."""
        assert encoder_head(None, colbert_vecs=TOKENS, **{name: POOLED}) == SentenceEmbedding(name)

    def test_of_two_such_names_none_is_guessed(self) -> None:
        outputs = {"text_embeds": POOLED, "image_embeds": POOLED}
        assert encoder_head(None, last_hidden_state=TOKENS, **outputs) == TokenEmbeddings("last_hidden_state")

    def test_the_last_of_all_hidden_states_is_taken(self) -> None:
        assert encoder_head(hidden_states_1=TOKENS, last_hidden_state=TOKENS) == TokenEmbeddings("last_hidden_state")

    def test_names_of_another_exporter_will_do(self) -> None:
        assert encoder_head(layer_norm_12=TOKENS, tanh=POOLED) == TokenEmbeddings("layer_norm_12")
        assert encoder_head(output=POOLED) == SentenceEmbedding("output")

    def test_token_ids_handed_through_are_no_embedding(self) -> None:
        ids = ValueSpec("output", "tensor(int64)", ("batch", "tokens"))
        pooled = ValueSpec("461", "tensor(float)", ("batch", 384))
        model = Session("model.onnx", "cpu", (), (ids, pooled), None)
        assert choose_head(model, ModelConfig(), TASKS["stsb"]) == SentenceEmbedding("461")

    def test_without_a_task_embeddings_can_be_compared(self) -> None:
        assert encoder_head(None, last_hidden_state=TOKENS) == TokenEmbeddings("last_hidden_state")

    @pytest.mark.parametrize("task", ["sst2", "mrpc", "mnli"])
    def test_embeddings_classify_nothing(self, task: str) -> None:
        with pytest.raises(OptionError, match=rf"`task` {task} needs a model with a class head, .*stsb only"):
            encoder_head(task, last_hidden_state=TOKENS)

    def test_outputs_that_are_neither_are_named(self) -> None:
        with pytest.raises(
            ModelError,
            match=r"among its outputs: pooler_output .*; `answer` pooler_output takes one of them for an embedding",
        ):
            encoder_head(pooler_output=POOLED)

    def test_the_pooler_is_an_embedding_for_who_asks_for_it(self) -> None:
        asked = ModelConfig(asked=EmbeddingOptions(answer="pooler_output"))
        head = choose_head(session(last_hidden_state=TOKENS, pooler_output=POOLED), asked, None)
        assert head == SentenceEmbedding("pooler_output")


class TestFilesOfSentenceTransformers:
    def config(self, folder: Path, told: Published, **asked: str) -> ModelConfig:
        return read_settings(find_repository(write_sentence_model(folder, told)).model_path, EmbeddingOptions(**asked))

    def test_say_how_tokens_are_pooled_and_what_follows(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, Published(("cls",), dense=(DenseModule(6),)))
        head = choose_head(session(last_hidden_state=["batch", "tokens", HIDDEN]), config, None)
        assert head == TokenEmbeddings("last_hidden_state", config.embedding())
        assert config.embedding().pooling == (Pooling.CLS,)
        assert head.answers(np.ones((1, 3, HIDDEN)), np.ones((1, 3))).shape == (1, 6)

    def test_stand_before_every_text_with_the_prompt(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, Published(prompts={"q": "find: "}, default_prompt="q"))
        for outputs in ({"token_embeddings": ["b", "t", HIDDEN]}, {"sentence_embedding": ["b", HIDDEN]}):
            head = choose_head(session(**outputs), config, None)  # type: ignore[arg-type]
            assert head.sequences([("a", "b")]) == [("find: a",), ("find: b",)]

    def test_of_another_model_are_refused(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, Published(("cls", "mean"), dense=(DenseModule(6),)))
        with pytest.raises(RepositoryError, match=f"gives 8 numbers a token, 16 when pooled, .* takes {2 * HIDDEN}"):
            choose_head(session(last_hidden_state=TOKENS), config, None)

    def test_leave_only_normalizing_to_do_where_the_graph_pools(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, Published(dense=(DenseModule(8),)))
        head = choose_head(session(sentence_embedding=POOLED), config, None)
        assert isinstance(head, SentenceEmbedding)
        assert head.embedding.modules == (Normalize(),)

    def test_make_a_score_of_a_rerankers_logit_and_keep_pairs_together(self, tmp_path: Path) -> None:
        write_reranker(tmp_path, sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid"})
        head = choose_head(session(logits=1), read_settings(tmp_path / "model.onnx"), None)
        assert head == ScoreHead("logits", Activation.SIGMOID)
        assert head.sequences([("a", "b")]) == [("a", "b")]
        np.testing.assert_allclose(head.predictions(np.array([[0.0], [2.0]])), [0.5, 1 / (1 + np.exp(-2))])

    def test_of_a_cross_encoder_mean_the_sigmoid_unless_they_name_another_function(self, tmp_path: Path) -> None:
        write_reranker(tmp_path)
        assert read_settings(tmp_path / "model.onnx").score_activation is None
        write(tmp_path / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
        assert read_settings(tmp_path / "model.onnx").score_activation is Activation.SIGMOID
        said = {
            "model_type": "CrossEncoder",
            "activation_fn": IDENTITY,
            "prompts": {"q": "find: "},
            "default_prompt_name": "q",
        }
        write(tmp_path / "config_sentence_transformers.json", said)
        head = choose_head(session(logits=1), read_settings(tmp_path / "model.onnx"), None)
        assert head == ScoreHead("logits", Activation.IDENTITY, "find: ")
        assert head.sequences([("a", "b")]) == [("find: a", "b")]

    @pytest.mark.parametrize(
        "outputs",
        [{"logits": 2}, {"sentence_embedding": POOLED}, {"scores": ["batch"]}],
        ids=lambda outputs: next(iter(outputs)),
    )
    def test_a_pooling_that_would_do_nothing_is_refused(self, outputs: dict[str, Any]) -> None:
        with pytest.raises((OptionError, ModelError), match=r"leave it out|neither class logits nor embeddings"):
            choose_head(session(**outputs), ModelConfig(asked=EmbeddingOptions("cls")), None)


class TestAskedFor:
    """What --answer and --pooling none say of outputs that names leave open: two towers, vectors of tokens."""

    TOWERS: ClassVar = {
        "logits_per_image": ["images", "texts"],
        "text_embeds": ["texts", 16],
        "image_embeds": ["images", 16],
    }

    @staticmethod
    def choose(outputs: dict[str, Any], **asked: str) -> Head:
        return choose_head(session(**outputs), ModelConfig(asked=EmbeddingOptions(**asked)), None)

    def test_the_output_of_that_name_is_the_answer(self) -> None:
        assert self.choose(self.TOWERS, answer="text_embeds") == SentenceEmbedding("text_embeds")
        both = {"logits": 2, "last_hidden_state": TOKENS}
        assert self.choose(both, answer="last_hidden_state") == TokenEmbeddings("last_hidden_state")

    @pytest.mark.parametrize("name", ["embeds", "pixels"], ids=["another name", "another number of axes"])
    def test_another_name_is_refused_with_those_that_there_are(self, name: str) -> None:
        outputs = {**self.TOWERS, "pixels": ["images", 3, 8, 8]}
        with pytest.raises(
            OptionError, match=rf"`answer` {name} is no output .* it has logits_per_image .*, text_embeds"
        ):
            self.choose(outputs, answer=name)

    def test_tokens_have_answers_of_their_own_if_nothing_pools_them(self) -> None:
        head = self.choose({"last_hidden_state": TOKENS}, pooling="none")
        assert head == TokenVectors("last_hidden_state")
        mask = np.array([[1, 1, 0], [1, 0, 0]])
        vectors = np.arange(12.0).reshape(2, 3, 2)
        np.testing.assert_array_equal(head.answers(vectors, mask), [[0, 1], [2, 3], [6, 7]])
        np.testing.assert_array_equal(head.owners(mask), [0, 0, 1])

    def test_there_have_to_be_tokens_for_that(self) -> None:
        with pytest.raises(OptionError, match="no output with three axes"):
            self.choose({"sentence_embedding": POOLED}, pooling="none")
