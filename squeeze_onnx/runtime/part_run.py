"""One part of a cut graph, open, and run on what earlier parts left."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.model import save_model
from squeeze_onnx.graph.rewrite.segments import Part, extract
from squeeze_onnx.runtime.sessions import Session, open_session

Values = dict[str, np.ndarray]


class PartRun:
    """``part`` of ``model``, with its weights as they are now; ``example`` has values of the types that it will read.

    The model that is run is written to ``path``.
    """

    def __init__(
        self,
        model: ir.Model,
        part: Part,
        example: Mapping[str, np.ndarray],
        path: Path,
        provider: str = "cpu",
        *,
        threads: int | None = None,
    ) -> None:
        self._part = part
        self._session: Session | None = None
        if part.outputs:
            save_model(alone(model, part, example), path)
            self._session = open_session(path, provider, threads=threads)

    def __call__(self, values: Values) -> Values:
        """Return ``values`` and what this part adds to them."""
        if self._session is None:
            return values
        results = self._session.run(self._part.outputs, only(self._part.inputs, values))
        return values | dict(zip(self._part.outputs, results, strict=True))


def alone(model: ir.Model, part: Part, example: Mapping[str, np.ndarray]) -> ir.Model:
    """Return ``part`` of ``model`` as a model of its own, which shares the weights and reads values like ``example``."""
    return extract(model, part, {name: ir.DataType.from_numpy(example[name].dtype) for name in part.inputs})


def only(names: Iterable[str], values: Mapping[str, np.ndarray]) -> Values:
    """Return those of ``values`` that have ``names``."""
    return {name: values[name] for name in names}
