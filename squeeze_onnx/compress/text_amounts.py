"""How much text is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from squeeze_onnx.compress.held_back import ENOUGH, MOST
from squeeze_onnx.data.tokenization import DEFAULT_MAX_TOKENS, TokenSequence


@dataclass(frozen=True)
class Amount:
    """How much text is read: at most so many sentences or pairs, and so many tokens of them, padding aside.

    ``least`` are the sentences or pairs that are read whatever their tokens.
    """

    rows: int
    tokens: int | None = None
    least: int = 1

    def within_tokens(self, sequences: Sequence[TokenSequence]) -> Sequence[TokenSequence]:
        """Return the first of ``sequences``, as many as have no more tokens, but ``least`` of them."""
        if self.tokens is None:
            return sequences
        ends = np.cumsum([len(sequence) for sequence in sequences])
        return sequences[: max(int(np.searchsorted(ends, self.tokens, side="right")), self.least)]


TO_CALIBRATE = Amount(1024)
"""What is read at most unless it is said."""

TO_JUDGE = Amount(MOST, tokens=8192, least=ENOUGH)
"""What is held back of long texts: the dense and the finished model run over all of it."""

TO_MAP = Amount(2048)
"""The same where embeddings get fewer dimensions: the map learns on all pairs of so many texts."""

TO_DISTILL = Amount(8192, tokens=1024 * DEFAULT_MAX_TOKENS)
"""The same where weights learn on it, by distillation or `soco`: they gain more from more text than from more steps.

See models/*/results/rows.json. The tokens are those of 1,024 long rows: memory and disk grow with them.
"""
