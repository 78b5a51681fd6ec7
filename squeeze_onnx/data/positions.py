"""Which rows of a value count: tokens that are text, patches of an image, frames of sound, and no padding.

The mask that a model is fed runs over its tokens. Its values run over the same, over the new tokens behind a cache, over fewer
frames than there were samples, or over something that has no padding at all.
"""

from collections.abc import Mapping

import numpy as np

MASK = "attention_mask"
"""The input that tells text from padding."""

TOKENS = ("input_ids", "decoder_input_ids", "inputs_embeds")
"""What runs over the tokens that a model reads; with a cache the mask runs over the earlier ones, too."""

SAMPLES = ("input_values", "input_features")
"""What runs over samples of sound, of which several make a frame."""


def mask_of_tokens(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return which tokens (sequences, tokens) are text, given the inputs of a model; None if no input says it.

    Of a mask for every pair of tokens, boolean or added to the scores, a token counts if any other may look at it.
    """
    mask = arrays.get(MASK)
    if mask is None or mask.ndim < 2:
        return None
    if mask.ndim > 2:
        seen = mask > -1 if np.issubdtype(mask.dtype, np.floating) else mask > 0
        mask = np.asarray(seen.reshape(len(mask), -1, mask.shape[-1]).any(axis=1), np.int64)
    read = next((arrays[name].shape[1] for name in TOKENS if name in arrays and arrays[name].ndim > 1), mask.shape[1])
    return mask[:, mask.shape[1] - read :] if read < mask.shape[1] else mask


def counted(feeds: Mapping[str, np.ndarray], mask: np.ndarray | None, rows: tuple[int, ...]) -> np.ndarray | None:
    """Return which of the ``rows`` of a value (its shape without the features) count, in their shape; None: all of them.

    ``mask`` (sequences, tokens) says it of the tokens of the model that reads ``feeds``. Rows that are the tokens, in whatever
    shape, have their mask; frames have that of the samples that they are made of; what runs over neither has no padding.
    """
    if mask is None:
        return None
    if rows == mask.shape[::-1] != mask.shape:
        return mask.T
    if int(np.prod(rows)) == mask.size:
        return mask.reshape(rows)
    sampled = any(name in feeds and feeds[name].shape[:2] == mask.shape for name in SAMPLES)
    if sampled and len(rows) == 2 and rows[0] == len(mask) and rows[1] < mask.shape[1]:
        centres = (np.arange(rows[1]) + 0.5) * mask.shape[1] / rows[1]
        return np.asarray(mask[:, centres.astype(np.int64)])
    return None


def sequences_in(feeds: Mapping[str, np.ndarray]) -> int:
    """Return how many sequences (texts, images) ``feeds`` holds."""
    return next(len(array) for array in feeds.values() if array.ndim > 1)
