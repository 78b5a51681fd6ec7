"""A model that is open and knows its head: texts in, answers and predictions out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from squeeze_onnx.data.batches import Batch, FeedBuilder, make_batches
from squeeze_onnx.data.fixed_shape import ANY_SHAPE, FixedShape
from squeeze_onnx.data.model_config import ModelConfig
from squeeze_onnx.data.readers import Texts
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import Padding, TextEncoder, TokenSequence
from squeeze_onnx.evaluate.answer_heads import Head
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.runtime.sessions import Session
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent

UNKNOWN = ModelConfig()


@dataclass(frozen=True)
class OpenModel:
    """A model ready to be asked; ``name`` is what progress calls it."""

    name: str
    session: Session
    head: Head
    feeder: FeedBuilder
    config: ModelConfig = UNKNOWN

    @classmethod
    def of(cls, name: str, session: Session, config: ModelConfig, task: Task | None) -> Self:
        """Choose the head for ``task``; raises as `choose_head` and `FeedBuilder.for_session` do."""
        feeder = FeedBuilder.for_session(session, first_position=config.first_position)
        return cls(name, session, choose_head(session, config, task), feeder, config)

    def batches(
        self, sequences: Sequence[TokenSequence], *, padding: Padding, batch_size: int, fixed: FixedShape = ANY_SHAPE
    ) -> list[Batch]:
        """Return ``sequences`` in batches that the graph takes; where its shape is free they have that of ``fixed``."""
        shape = self.feeder.fixed.or_else(fixed)
        return make_batches(sequences, batch_size, padding=padding, may_pad=self.feeder.takes_mask, fixed=shape)

    def outputs(
        self,
        sequences: Sequence[TokenSequence],
        names: Sequence[str],
        *,
        padding: Padding,
        batch_size: int,
        track: Track = silent,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
        """Run the graph over ``sequences`` and yield, batch by batch, their numbers, the mask, and the outputs of ``names``."""
        batches = self.batches(sequences, padding=padding, batch_size=batch_size)
        for batch in track(batches, f"Running the {self.name} on {self.session.provider}"):
            found = self.session.run(names, self.feeder.feeds(batch))
            rows = len(batch.rows)  # a graph of a fixed batch size may have had to take some of them twice
            own = [output[:rows] if len(output) == len(batch.mask) else output for output in found]
            yield batch.rows, batch.mask[:rows], own

    def finite(self, answers: np.ndarray) -> np.ndarray:
        """Return ``answers``; raises ModelError for NaN or infinity."""
        if not np.all(np.isfinite(answers)):
            raise ModelError(
                f"{self.session.label} returns NaN or infinity in {self.head.output!r} on {self.session.provider}"
            )
        return answers

    def answers(
        self, sequences: Sequence[TokenSequence], *, padding: Padding, batch_size: int, track: Track = silent
    ) -> np.ndarray:
        """Return the answers to all sequences, in order, shape (answers, features); ModelError for NaN or infinity."""
        found, owners = [], []
        names = (self.head.output,)
        for rows, mask, (output,) in self.outputs(
            sequences, names, padding=padding, batch_size=batch_size, track=track
        ):
            found.append(self.head.answers(output, mask))
            owners.append(rows[self.head.owners(mask)])
        answers = self.finite(np.concatenate(found))
        in_order: np.ndarray = answers[np.argsort(np.concatenate(owners), kind="stable")]
        return in_order

    def predictions(
        self, rows: Sequence[Texts], encoder: TextEncoder, *, batch_size: int, track: Track = silent
    ) -> np.ndarray:
        """Return one prediction a row, a class number or a score, shape (rows,)."""
        sequences = encoder.encode(self.head.sequences(rows))
        return self.head.predictions(
            self.answers(sequences, padding=encoder.padding, batch_size=batch_size, track=track)
        )
