"""How many texts, and of how many tokens, a graph takes at once, where its export says it: for phones and NPUs they are fixed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import onnx_ir as ir

from squeeze_onnx.support.errors import OptionError

TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
"""The inputs that a text determines, each (texts, tokens)."""


@dataclass(frozen=True)
class FixedShape:
    """The batch size and the length of a graph's inputs; None where they are free."""

    batch: int | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, inputs: Iterable[tuple[str, Sequence[object]]]) -> Self:
        """Read it from the names and shapes of a graph's inputs; other than `TEXT_INPUTS` do not say it."""
        shapes = [shape for name, shape in inputs if name in TEXT_INPUTS and len(shape) == 2]
        batch, tokens = (
            next((size for shape in shapes if isinstance(size := shape[axis], int)), None) for axis in (0, 1)
        )
        return cls(batch, tokens)

    @classmethod
    def of_graph(cls, model: ir.Model) -> Self:
        """Read it from the inputs of ``model``."""
        return cls.of((str(value.name), tuple(value.shape or ())) for value in model.graph.inputs)

    def or_else(self, other: "FixedShape") -> "FixedShape":
        """Return this shape, with that of ``other`` where this one is free."""
        return FixedShape(
            other.batch if self.batch is None else self.batch, other.tokens if self.tokens is None else self.tokens
        )

    def most(self, tokens: int | None) -> int | None:
        """Return how many of so many tokens (None: any number) the graph takes."""
        return min((size for size in (tokens, self.tokens) if size is not None), default=None)

    def require(self, label: str, *, batch: Iterable[int] = (), tokens: Iterable[int] = ()) -> None:
        """Raise OptionError, which names the option, for a batch size or length that the model ``label`` does not take."""
        for option, fixed, asked in (("batch_size", self.batch, batch), ("sequence_length", self.tokens, tokens)):
            for size in asked:
                if fixed is not None and size != fixed:
                    what = f"batches of {fixed}" if option == "batch_size" else f"sequences of {fixed} tokens"
                    raise OptionError(
                        f"`{option}` {size}: {label} was exported for {what} only; leave the option out, or "
                        "export the model with that size free (optimum-cli export onnx does, unless it is told a size)"
                    )

    def __str__(self) -> str:
        return " × ".join("any" if size is None else str(size) for size in (self.batch, self.tokens))


ANY_SHAPE = FixedShape()
"""That of a graph which takes any number of texts of any length."""
