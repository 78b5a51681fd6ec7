"""Embeddings made to be stored."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.data.stored_output import BITS, OutputType
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Vectors(Part):
    """What the output of an embedder is made to take.

    output_dimensions: numbers of an embedding, so that the first n of them are the best n; None for all that it has.
    output_type: what they are stored in: float, int8, uint8 or binary (a bit each); None for floats.
    """

    output_dimensions: int | None = None
    output_type: str | None = None

    def check(self) -> None:
        """Raise OptionError for an unknown type, and for dimensions that it does not have."""
        if self.output_dimensions is not None and self.output_dimensions < 1:
            raise OptionError(f"`output_dimensions` is a positive integer; got {self.output_dimensions}")
        if self.output_type is None:
            return
        one_of("output_type", self.output_type, map(str, OutputType))
        if self.output_dimensions is not None:
            refuse_part_of_a_byte(OutputType(self.output_type), self.output_dimensions)

    @property
    def shrinks_output(self) -> bool:
        """Whether embeddings are to be stored in fewer bytes."""
        return self.output_dimensions is not None or self.output_type not in (None, str(OutputType.FLOAT))


def refuse_part_of_a_byte(kind: OutputType, dimensions: int) -> None:
    """Raise OptionError for bits that do not fill their bytes."""
    if kind is OutputType.BINARY and dimensions % BITS:
        raise OptionError(
            f"`output_type` binary fills bytes with a bit a dimension, and {dimensions} is no multiple of {BITS}: ask for "
            f"{-(-dimensions // BITS) * BITS if dimensions < BITS else dimensions // BITS * BITS} with `output_dimensions`"
        )
