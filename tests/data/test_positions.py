"""Which rows of a value count."""

import numpy as np
import pytest

from squeeze_onnx.data.positions import counted, mask_of_tokens, sequences_in

MASK = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
IDS = {"input_ids": np.zeros((3, 4), np.int64)}


def text(**more: np.ndarray) -> dict[str, np.ndarray]:
    return IDS | {"attention_mask": MASK} | more


class TestMaskOfTokens:
    def test_is_the_attention_mask(self) -> None:
        np.testing.assert_array_equal(mask_of_tokens(text()), MASK)

    def test_behind_a_cache_is_that_of_the_new_tokens(self) -> None:
        behind = np.concatenate([np.ones((3, 2), np.int64), MASK], axis=1)
        np.testing.assert_array_equal(mask_of_tokens(text(attention_mask=behind)), MASK)

    @pytest.mark.parametrize("added", [False, True], ids=["boolean", "added to the scores"])
    def test_of_pairs_is_what_any_token_sees(self, added: bool) -> None:
        causal = np.tril(np.ones((4, 4), bool)) & MASK[:, None, None, :].astype(bool)
        pairs = np.where(causal, 0, -1e9).astype(np.float32) if added else causal
        np.testing.assert_array_equal(mask_of_tokens(text(attention_mask=pairs)), MASK)

    def test_is_none_for_images(self) -> None:
        assert mask_of_tokens({"pixel_values": np.zeros((2, 3, 4, 4))}) is None


class TestCounted:
    @pytest.mark.parametrize("rows", [(3, 4), (12,), (1, 12), (3, 4, 1)])
    def test_tokens_have_their_mask_in_any_shape(self, rows: tuple[int, ...]) -> None:
        np.testing.assert_array_equal(counted(IDS, MASK, rows), MASK.reshape(rows))

    def test_tokens_may_come_first(self) -> None:
        np.testing.assert_array_equal(counted(IDS, MASK, (4, 3)), MASK.T)

    @pytest.mark.parametrize("rows", [(3,), (3, 7), (1, 4), (3, 2, 4)], ids=str)
    def test_what_is_no_token_has_no_padding(self, rows: tuple[int, ...]) -> None:
        assert counted(IDS, MASK, rows) is None

    def test_without_a_mask_everything_counts(self) -> None:
        assert counted({"pixel_values": np.zeros((2, 3, 4, 4))}, None, (2, 3)) is None

    def test_a_frame_is_what_the_sample_in_its_middle_is(self) -> None:
        samples = np.array([[1] * 60 + [0] * 40, [1] * 100])
        sound = {"input_values": np.zeros((2, 100), np.float32)}
        np.testing.assert_array_equal(counted(sound, samples, (2, 5)), [[1, 1, 1, 0, 0], [1] * 5])


def test_sequences_are_those_of_the_first_input_that_has_axes() -> None:
    assert sequences_in({"use_cache": np.array([True]), "pixel_values": np.zeros((2, 3, 4, 4))}) == 2
