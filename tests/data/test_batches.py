import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.data.batches import FeedBuilder, make_batches
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.tokenization import Padding, TokenSequence
from squeeze_onnx.runtime.sessions import Session, ValueSpec
from squeeze_onnx.support.errors import ModelError


def sequence(length: int, first: int = 10) -> TokenSequence:
    return TokenSequence(np.arange(first, first + length), np.ones(length, dtype=np.int64))


def session(*inputs: tuple[str, str]) -> Session:
    specs = tuple(ValueSpec(name, f"tensor({kind})", ("batch", "tokens")) for name, kind in inputs)
    return Session("model.onnx", "cpu", specs, (), None)


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30), size=st.integers(1, 7), may_pad=st.booleans())
def test_every_sequence_comes_once_and_whole(lengths: list[int], size: int, may_pad: bool) -> None:
    sequences = [sequence(length, first=number) for number, length in enumerate(lengths)]
    batches = make_batches(sequences, size, padding=Padding(99), may_pad=may_pad)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch.rows) <= size
        for row, ids, types, mask in zip(batch.rows, batch.ids, batch.type_ids, batch.mask, strict=True):
            length = lengths[row]
            np.testing.assert_array_equal(ids[:length], sequences[row].ids)
            np.testing.assert_array_equal(types[:length], sequences[row].type_ids)
            assert set(ids[length:]) <= {99}
            assert not types[length:].any()
            np.testing.assert_array_equal(mask, np.arange(len(mask)) < length)


def test_like_lengths_share_a_batch() -> None:
    batches = make_batches([sequence(length) for length in (2, 9, 3, 8)], 2, padding=Padding(0))
    assert [batch.ids.shape for batch in batches] == [(2, 3), (2, 9)]


def test_padding_may_stand_on_the_left_and_positions_begin_behind_it() -> None:
    [batch] = make_batches([sequence(1), sequence(3)], 2, padding=Padding(9, left=True))
    np.testing.assert_array_equal(batch.mask, [[0, 0, 1], [1, 1, 1]])
    assert (batch.ids[0, :2] == 9).all()
    np.testing.assert_array_equal(batch.ids[0, 2:], sequence(1).ids)
    feeds = FeedBuilder.for_session(session(("position_ids", "int64")), first_position=2).feeds(batch)
    np.testing.assert_array_equal(feeds["position_ids"], [[2, 2, 2], [2, 3, 4]])


def test_without_a_mask_nothing_is_padded() -> None:
    batches = make_batches([sequence(length) for length in (2, 3, 2)], 8, padding=Padding(0), may_pad=False)
    assert [batch.ids.shape for batch in batches] == [(2, 2), (1, 3)]


def test_feeds_have_the_names_and_types_of_the_graph() -> None:
    [batch] = make_batches([sequence(2), sequence(1)], 2, padding=Padding(0))
    builder = FeedBuilder.for_session(
        session(
            ("input_ids", "int32"), ("attention_mask", "int64"), ("token_type_ids", "int64"), ("position_ids", "int32")
        )
    )
    feeds = builder.feeds(batch)
    assert {name: array.dtype for name, array in feeds.items()} == {
        "input_ids": np.int32,
        "attention_mask": np.int64,
        "token_type_ids": np.int64,
        "position_ids": np.int32,
    }
    np.testing.assert_array_equal(feeds["input_ids"], [[10, 0], [10, 11]])
    np.testing.assert_array_equal(feeds["attention_mask"], [[1, 0], [1, 1]])
    np.testing.assert_array_equal(feeds["token_type_ids"], [[1, 0], [1, 1]])
    np.testing.assert_array_equal(feeds["position_ids"], [[0, 1], [0, 1]])


@pytest.mark.parametrize(("name", "dtype"), [("bool", np.bool_), ("float", np.float32), ("float16", np.float16)])
def test_a_mask_may_have_another_type(name: str, dtype: type[np.generic]) -> None:
    [batch] = make_batches([sequence(2), sequence(1)], 2, padding=Padding(0))
    feeds = FeedBuilder.for_session(session(("attention_mask", name))).feeds(batch)
    assert feeds["attention_mask"].dtype == dtype
    np.testing.assert_array_equal(feeds["attention_mask"], [[1, 0], [1, 1]])


def test_token_ids_may_not() -> None:
    with pytest.raises(
        ModelError, match=r"'input_ids' is a tensor\(float\), none of tensor\(int64\), tensor\(int32\): give an"
    ):
        FeedBuilder.for_session(session(("input_ids", "float")))


def test_positions_start_where_the_model_has_them() -> None:
    [batch] = make_batches([sequence(3)], 1, padding=Padding(0))
    feeds = FeedBuilder.for_session(session(("position_ids", "int64")), first_position=2).feeds(batch)
    np.testing.assert_array_equal(feeds["position_ids"], [[2, 3, 4]])


def test_only_what_the_graph_takes_is_fed() -> None:
    builder = FeedBuilder.for_session(session(("input_ids", "int64")))
    assert not builder.takes_mask
    [batch] = make_batches([sequence(3)], 1, padding=Padding(0))
    assert set(builder.feeds(batch)) == {"input_ids"}


def test_a_cache_is_fed_empty() -> None:
    cache = ValueSpec("past_key_values.0.key", "tensor(float)", ("batch", 2, "past", 8))
    opened = Session(
        "model.onnx", "cpu", (ValueSpec("input_ids", "tensor(int64)", ("batch", "tokens")), cache), (), None
    )
    [batch] = make_batches([sequence(3), sequence(2)], 2, padding=Padding(0))
    feeds = FeedBuilder.for_session(opened).feeds(batch)
    assert feeds["past_key_values.0.key"].shape == (2, 2, 0, 8)
    assert feeds["past_key_values.0.key"].dtype == np.float32


def test_a_cache_of_a_fixed_size_cannot_be_empty() -> None:
    cache = ValueSpec("past_key_values.0.key", "tensor(float)", ("batch", 2, 16, 8))
    with pytest.raises(ModelError, match=r"has an input 'past_key_values\.0\.key'"):
        FeedBuilder.for_session(Session("model.onnx", "cpu", (cache,), (), None))


def test_an_unknown_input_is_named() -> None:
    with pytest.raises(ModelError, match=r"model\.onnx has an input 'pixel_values'; .* input_ids, attention_mask"):
        FeedBuilder.for_session(session(("input_ids", "int64"), ("pixel_values", "float")))


def test_an_input_of_another_type_is_named() -> None:
    with pytest.raises(
        ModelError, match=r"'attention_mask' is a tensor\(string\), none of tensor\(int64\), .*: give an .npz"
    ):
        FeedBuilder.for_session(session(("attention_mask", "string")))


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30), size=st.integers(1, 7), may_pad=st.booleans())
def test_batches_for_a_fixed_shape_have_it_and_lose_nothing(lengths: list[int], size: int, may_pad: bool) -> None:
    sequences = [sequence(length, first=number) for number, length in enumerate(lengths)]
    batches = make_batches(sequences, 99, padding=Padding(7), may_pad=may_pad, fixed=FixedShape(size, 9))
    assert sorted(np.concatenate([batch.rows for batch in batches])) == list(range(len(lengths)))
    for batch in batches:
        assert batch.ids.shape == batch.mask.shape == (size, 9)
        for index in range(size):
            row = batch.rows[index % len(batch.rows)]
            np.testing.assert_array_equal(batch.ids[index, : lengths[row]], sequences[row].ids)
            assert batch.mask[index].sum() == lengths[row]


@pytest.mark.parametrize(
    ("shapes", "fixed"),
    [
        ([("input_ids", ("batch", "tokens"))], FixedShape()),
        ([("input_ids", (1, 128)), ("attention_mask", (1, 128))], FixedShape(1, 128)),
        ([("pixel_values", (1, 3, 8, 8)), ("input_ids", (None, 16))], FixedShape(None, 16)),
        ([("input_ids", ("batch", "tokens")), ("position_ids", (1, "tokens"))], FixedShape(1, None)),
    ],
)
def test_a_fixed_shape_is_that_of_the_inputs_of_text(
    shapes: list[tuple[str, tuple[object, ...]]], fixed: FixedShape
) -> None:
    assert FixedShape.of(shapes) == fixed
