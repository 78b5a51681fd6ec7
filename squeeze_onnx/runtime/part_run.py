"""Parts of cut graphs, open, and run on what earlier parts left."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.graph.io.model import name_of, save_model
from squeeze_onnx.graph.rewrite.segments import Segment, extract
from squeeze_onnx.graph.rewrite.side_by_side import side_by_side
from squeeze_onnx.runtime.sessions import Session, SessionSettings, open_session

Values = dict[str, np.ndarray]


class PartRun:
    """``part`` of ``model``, with its weights as they are now; ``example`` has values of the types that it will read.

    The model that is run is written to ``path``.
    """

    def __init__(
        self,
        model: ir.Model,
        part: Segment,
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
            label = f"a part of {name_of(model)}"
            self._session = open_session(path, provider, SessionSettings(threads=threads), label=label)

    def __call__(self, values: Values) -> Values:
        """Return ``values`` and what this part adds to them."""
        if self._session is None:
            return values
        results = self._session.run(self._part.outputs, only(self._part.inputs, values))
        return values | dict(zip(self._part.outputs, results, strict=True))


class PairRun:
    """The parts of two models that belong together, in one session; ``examples`` are as that of `PartRun`, one of each."""

    def __init__(
        self,
        models: tuple[ir.Model, ir.Model],
        parts: tuple[Segment, Segment],
        examples: tuple[Values, Values],
        path: Path,
        provider: str = "cpu",
    ) -> None:
        self._parts = parts
        self._called: dict[str, str] = {}
        self._session: Session | None = None
        opened = [
            alone(model, part, example)
            for model, part, example in zip(models, parts, examples, strict=True)
            if part.outputs
        ]
        if len(opened) == 2:
            together, self._called = side_by_side(opened[0], opened[1], "first/")
            opened = [together]
        if opened:
            save_model(opened[0], path)
            self._session = open_session(path, provider, label=f"a part of {name_of(models[0])}")

    def __call__(self, first: Values, second: Values) -> tuple[Values, Values]:
        """Return the values of both and what the parts add to them."""
        if self._session is None:
            return first, second
        names = [name for part in self._parts for name in part.outputs]
        called = [self._called.get(name, name) for name in self._parts[0].outputs]
        feeds = only(self._parts[1].inputs, second) if self._parts[1].outputs else {}
        if self._parts[0].outputs:
            feeds |= {self._called.get(name, name): first[name] for name in self._parts[0].inputs}
        results = self._session.run([*called, *self._parts[1].outputs], feeds)
        of_first = len(called)
        return (
            first | dict(zip(names[:of_first], results[:of_first], strict=True)),
            second | dict(zip(names[of_first:], results[of_first:], strict=True)),
        )


def alone(model: ir.Model, part: Segment, example: Mapping[str, np.ndarray]) -> ir.Model:
    """Return ``part`` of ``model`` as a model of its own, which shares the weights and reads values like ``example``."""
    return extract(model, part, {name: ir.DataType.from_numpy(example[name].dtype) for name in part.inputs})


def only(names: Iterable[str], values: Mapping[str, np.ndarray]) -> Values:
    """Return those of ``values`` that have ``names``."""
    return {name: values[name] for name in names}
