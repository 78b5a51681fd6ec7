"""Text that is held back: calibration and learning do not read it, so that what is measured on it is not what they fitted.

Text that a source has beyond what calibration reads costs nothing. Where it has too little of that, some is taken from what
calibration would read.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.readers import Texts
from squeeze_onnx.support.shown import Shown

MOST = 256
"""Texts that are held back if a source has them."""

ENOUGH = 64
"""Texts that are worth more to a measurement than to calibration, of however many."""

SHARE = 1 / 8
"""The part of fewer texts that is worth it."""

FEWEST = 4
"""Texts that can be told apart by a variance; fewer are not held back."""

IN_SAMPLE = "Too few texts to hold any back: what is measured is measured on those that calibration read."


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Shown, Sequence[CalibrationBatch]):
    """Batches to calibrate and to learn on, and beside them those ``held_back``, of which neither has a text or sample.

    ``needed`` are the tokens that the choice of ranks was found to need (see `squeeze_onnx.compress.text_needed`); None if how
    much is read was said.
    """

    batches: tuple[CalibrationBatch, ...]
    held_back: tuple[CalibrationBatch, ...] = ()
    needed: int | None = None

    def summary(self) -> dict[str, str]:
        """Return how much there is of it."""
        return {
            "texts": f"{rows_of(self.batches)} in {len(self.batches)} batches",
            "held back": f"{rows_of(self.held_back)}",
        }

    def to_json(self) -> dict[str, int]:
        """Return how much there is of it, in texts."""
        return {"texts": rows_of(self.batches), "held_back": rows_of(self.held_back)}

    def __len__(self) -> int:
        return len(self.batches)

    @overload
    def __getitem__(self, index: int) -> CalibrationBatch: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[CalibrationBatch, ...]: ...

    def __getitem__(self, index: int | slice) -> CalibrationBatch | tuple[CalibrationBatch, ...]:
        return self.batches[index]


def held_back_of(calibration: Sequence[CalibrationBatch]) -> tuple[CalibrationBatch, ...]:
    """Return what is held back beside ``calibration``: nothing, if it is a plain sequence of batches."""
    return calibration.held_back if isinstance(calibration, Calibration) else ()


def needed_of(calibration: Sequence[CalibrationBatch]) -> int | None:
    """Return how many tokens the choice of ranks was found to need, see `Calibration`; None for a plain sequence of batches."""
    return calibration.needed if isinstance(calibration, Calibration) else None


def rows_of(batches: Iterable[CalibrationBatch]) -> int:
    """Return how many texts or samples ``batches`` have."""
    return sum(len(next(iter(batch.feeds.values()))) for batch in batches)


def wanted(read: int) -> int:
    """Return how many texts are to be held back where calibration reads ``read``."""
    return min(max(round(SHARE * read), FEWEST), ENOUGH)


def hold_back_texts(
    read: Sequence[Texts], beyond: Iterable[Texts], taken: Collection[str] = ()
) -> tuple[list[Texts], list[Texts]]:
    """Return what of the sequences ``read`` is left to calibration, and what is held back of them and of those ``beyond``.

    No text of the one is in the other, be it a part of a pair, and none that is held back is ``taken`` by something else that
    judges. The last of ``read`` are held back only where those beyond are fewer than is `wanted`.
    """
    seen = {text for texts in read for text in texts} | {*taken}
    fresh = (texts for texts in dict.fromkeys(beyond) if seen.isdisjoint(texts))
    held_back = list(islice(fresh, MOST))
    missing = wanted(len(read)) - len(held_back)
    if missing > 0 and len(read) >= FEWEST**2:
        uses = Counter(text for texts in read for text in {*texts})
        alone = [texts for texts in read if all(uses[text] == 1 and text not in taken for text in texts)]
        held_back += alone[-missing:]
    if len(held_back) < FEWEST:
        return list(read), []
    apart = {*held_back}
    return [texts for texts in read if texts not in apart], held_back


def hold_back_samples(keys: Sequence[bytes]) -> list[int]:
    """Return which samples are held back: every n-th of those whose key no other one has, in order.

    Samples come in an order of their own, so the last of them may be of one kind.
    """
    if len(keys) < FEWEST**2:
        return []
    uses = Counter(keys)
    alone = [index for index, key in enumerate(keys) if uses[key] == 1]
    count = min(wanted(len(keys)), len(alone))
    return [alone[place * len(alone) // count] for place in range(count)] if count >= FEWEST else []
