import numpy as np
import pytest

from squeeze_onnx.evaluate.answer_heads import (
    ClassLogits,
    ScoreHead,
    SentenceEmbedding,
    TokenEmbeddings,
    TokenLogits,
    WordLogits,
)
from squeeze_onnx.support.errors import ModelError

PAIRS = [("a", "b"), ("c", "d")]
MASK = np.array([[1, 1, 0], [1, 1, 1]])


def test_classifiers_read_pairs_together_and_encoders_text_by_text() -> None:
    assert ClassLogits("logits", (0, 1)).sequences(PAIRS) == PAIRS
    assert ScoreHead("logits").sequences(PAIRS) == PAIRS
    assert SentenceEmbedding("e").sequences(PAIRS) == [("a",), ("b",), ("c",), ("d",)]
    assert TokenEmbeddings("e").sequences([("a",)]) == [("a",)]


def test_logits_are_put_in_the_order_of_the_data() -> None:
    head = ClassLogits("logits", (2, 0, 1))
    answers = head.answers(np.array([[1, 5, 3], [9, 1, 2]], dtype=np.float32), MASK)
    np.testing.assert_array_equal(answers, [[3, 1, 5], [2, 9, 1]])
    assert answers.dtype == np.float64
    np.testing.assert_array_equal(head.predictions(answers), [2, 1])


def test_another_number_of_logits_than_labels_is_an_error() -> None:
    with pytest.raises(
        ModelError, match=r"output 'logits' has shape \[2, 4\] for 2 texts and 3 labels; correct id2label"
    ):
        ClassLogits("logits", (2, 0, 1)).answers(np.ones((2, 4), dtype=np.float32), MASK)


def test_logits_of_tokens_are_an_answer_each_and_padding_has_none() -> None:
    head, output = TokenLogits("logits"), np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    answers = head.answers(output, MASK)
    np.testing.assert_array_equal(answers, output.reshape(6, 2)[[0, 1, 3, 4, 5]])
    assert answers.dtype == np.float64
    np.testing.assert_array_equal(head.owners(MASK), [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(head.predictions(answers), np.ones(5))
    assert head.fidelity(answers, answers[:, ::-1]).agreement == 0
    assert head.sequences(PAIRS) == PAIRS


@pytest.mark.parametrize("padding_first", [False, True])
def test_a_language_model_answers_with_the_word_in_the_middle_of_a_text(padding_first: bool) -> None:
    head, output = WordLogits("logits"), np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = MASK[:, ::-1] if padding_first else MASK
    answers = head.answers(output, mask)
    np.testing.assert_array_equal(answers, output[[0, 1], [2 if padding_first else 1, 1]])
    assert answers.dtype == np.float64
    np.testing.assert_array_equal(head.owners(mask), [0, 1])
    np.testing.assert_array_equal(head.predictions(answers), [1, 1])
    assert head.fidelity(answers, answers).agreement == 1
    assert head.sequences(PAIRS) == PAIRS


@pytest.mark.parametrize("shape", [(2, 1), (2,)], ids=["a column", "a vector"])
def test_a_regression_predicts_its_output(shape: tuple[int, ...]) -> None:
    head = ScoreHead("logits")
    answers = head.answers(np.array([0.5, 4.5], dtype=np.float16).reshape(shape), MASK)
    np.testing.assert_array_equal(head.predictions(answers), [0.5, 4.5])


def test_token_embeddings_are_averaged_without_padding() -> None:
    output = np.array([[[1, 0], [3, 0], [100, 100]], [[1, 1], [2, 2], [3, 3]]], dtype=np.float32)
    np.testing.assert_allclose(TokenEmbeddings("e").answers(output, MASK), [[2, 0], [2, 2]])


def test_a_pair_of_embeddings_scores_by_its_cosine() -> None:
    answers = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(SentenceEmbedding("e").predictions(answers), [1.0, np.sqrt(0.5)])


def test_each_head_compares_what_it_has() -> None:
    answers = np.array([[1.0], [2.0]])
    assert ClassLogits("logits", (0,)).fidelity(answers, answers).agreement == 1.0
    assert ScoreHead("logits").fidelity(answers, answers).agreement is None
    assert TokenEmbeddings("e").fidelity(answers, answers).cosine_similarity == pytest.approx(1.0)
