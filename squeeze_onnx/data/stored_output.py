"""How embeddings that a graph returns to be stored are read: their type, their scale, and whether they have axes of their own.

`optimize` writes it beside the model as embedding_config.json; without that file an output is what the model was trained to give.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import Repository
from squeeze_onnx.support.errors import RepositoryError

STORED_FILE = "embedding_config.json"
FORMAT = "squeeze-onnx/embedding/1"

BITS = 8
"""In a byte: binary embeddings have dimensions by the byte."""


class OutputType(StrEnum):
    """What the numbers of an embedding are stored in."""

    FLOAT = "float"
    INT8 = "int8"
    UINT8 = "uint8"
    BINARY = "binary"

    def bytes_of(self, dimensions: int) -> int:
        """Return how many bytes an embedding of so many dimensions takes."""
        match self:
            case OutputType.FLOAT:
                return 4 * dimensions
            case OutputType.BINARY:
                return -(-dimensions // BITS)
            case _:
                return dimensions


_READ = {
    OutputType.FLOAT: "numbers as they are",
    OutputType.INT8: "cosines and dot products of the integers are those of the embeddings, up to scale",
    OutputType.UINT8: "take off zero_point; cosines and dot products of what is left are those of the embeddings, up to scale",
    OutputType.BINARY: "a bit a dimension, the first is the highest of its byte; compare by the Hamming distance",
}


@dataclass(frozen=True)
class StoredOutput:
    """The graph output ``output`` has embeddings of so many ``dimensions``: (entry − ``zero_point``) · ``scale``, or bits.

    One scale for all dimensions keeps cosines and dot products of the integers those of the embeddings. ``of_dimensions`` are
    those that the model has without it; ``own_axes`` says that they cannot be compared with such ones, dimension by dimension.
    """

    output: str
    dimensions: int
    of_dimensions: int
    type: OutputType = OutputType.FLOAT
    scale: float = 1.0
    zero_point: int = 0
    own_axes: bool = False

    @property
    def bytes(self) -> int:
        """How many bytes one embedding takes."""
        return self.type.bytes_of(self.dimensions)

    def decode(self, rows: np.ndarray) -> np.ndarray:
        """Return what the graph gave, (texts, numbers or bytes), as float64 (texts, dimensions); bits are −1 and 1."""
        if self.type is OutputType.BINARY:
            bits = np.unpackbits(rows.astype(np.uint8), axis=-1)[..., : self.dimensions]
            return np.asarray(2.0 * bits - 1.0)
        return np.asarray((rows.astype(np.float64) - self.zero_point) * self.scale)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for embedding_config.json."""
        return {"format": FORMAT, **asdict(self), "type": str(self.type), "bytes": self.bytes, "read": _READ[self.type]}

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read the file ``path``; raises RepositoryError if it is malformed."""
        values = read_json_object(path, RepositoryError)
        if values.get("format") != FORMAT:
            raise RepositoryError(f'{path} lacks "format": "{FORMAT}": get it again')
        kinds: dict[str, type | tuple[type, ...]] = {
            "output": str,
            "dimensions": int,
            "of_dimensions": int,
            "type": str,
            "scale": (int, float),
            "zero_point": int,
            "own_axes": bool,
        }
        for key, kind in kinds.items():
            if not isinstance(values.get(key), kind):
                raise RepositoryError(f"{path}: {key} is {values.get(key)!r}: get the file again")
        if values["type"] not in list(OutputType):
            raise RepositoryError(f"{path}: type is {values['type']!r}, not one of {', '.join(OutputType)}")
        return cls(**{key: values[key] for key in kinds} | {"type": OutputType(values["type"])})


def read_stored_output(repository: Repository) -> StoredOutput | None:
    """Return what embedding_config.json says; None without the file. Raises RepositoryError if it is malformed."""
    path = repository.root / STORED_FILE
    return StoredOutput.of(path) if path.is_file() else None
