"""The steps of one model: where tokens may go, what stands for those that are gone, and a copy whose rates are inputs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.tokens.axes import axes_of
from squeeze_onnx.compress.tokens.choice import LayerWork
from squeeze_onnx.data.calibration import CalibrationBatch, session_showing
from squeeze_onnx.data.positions import MASK
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.match.token_stream import TokenStream, find_token_stream
from squeeze_onnx.graph.rewrite.fewer_tokens import OLDEST_OPSET, Cut, KeptStates, prune_tokens, puts_back
from squeeze_onnx.graph.rewrite.insertion import Inserter
from squeeze_onnx.graph.rewrite.kept_operands import AxisKind
from squeeze_onnx.support.errors import ModelError

_BEHIND = frozenset({Role.FFN_IN, Role.FFN_OUT})
_OF_LAYERS = _BEHIND | {Role.QUERY, Role.KEY, Role.VALUE, Role.QUERY_KEY_VALUE, Role.ATTENTION_OUTPUT}

Lines = Mapping[int, tuple[np.ndarray, np.ndarray]]
"""Layer → what its states are multiplied with and shifted by, (features,), to be like those of the last one."""


@dataclass(frozen=True, eq=False)
class TokenSteps:
    """Where tokens of ``model`` may go, and what the axes of its values run over."""

    model: ir.Model
    stream: TokenStream
    axes: Mapping[str, tuple[AxisKind, ...]]

    @classmethod
    def of(cls, model: ir.Model, batch: CalibrationBatch) -> "TokenSteps":
        """Find them in ``model``, which reads inputs as ``batch`` has; raises ModelError, naming a node, if there are none."""
        opset = model.graph.opset_imports.get("", 0)
        if opset < OLDEST_OPSET:
            raise ModelError(f"it has opset {opset}, and this takes {OLDEST_OPSET} or later: export it again")
        return cls(model, find_token_stream(model.graph), axes_of(model, batch.feeds))

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers behind which tokens may go."""
        return tuple(step.layer for step in self.stream.steps)

    def work(self) -> list[LayerWork]:
        """Return the multiplications with weights for a token, layer by layer."""
        sizes: dict[int, list[int]] = {layer: [0, 0] for layer in self.layers}
        for site in find_sites(self.model).sites:
            if site.layer is not None and site.role in _OF_LAYERS:
                sizes.setdefault(site.layer, [0, 0])[site.role in _BEHIND] += site.parameters * len(site.nodes)
        return [LayerWork(layer, *both) for layer, both in sorted(sizes.items())]

    def lines(self, batches: Iterable[CalibrationBatch], provider: str) -> Lines:
        """Regress, feature by feature, the last states on those behind each layer; nothing if only the first token is read."""
        if not puts_back(self.stream):
            return {}
        names = [str(step.state.name) for step in self.stream.steps]
        sums = [np.zeros((5, 1)) for _ in names]
        with session_showing(self.model, [*names, str(self.stream.end.name)], provider) as session:
            for batch in batches:
                *states, last = session.run([*names, str(self.stream.end.name)], batch.feeds)
                counted = batch.counted(last.shape[:2])
                rows = np.ones(last.shape[:2], bool) if counted is None else counted.astype(bool)
                y = last[rows].astype(np.float64)
                for place, state in enumerate(states):
                    x = state[rows].astype(np.float64)
                    terms = (np.ones_like(x), x, y, x * x, x * y)
                    sums[place] = sums[place] + np.stack([term.sum(axis=0) for term in terms])
        return dict(zip(self.layers, (_line(*each) for each in sums), strict=True))

    def pruned(self, rates: Mapping[int, float], lines: Lines) -> tuple[KeptStates, ...]:
        """Let tokens go; the graph of the model changes in place. Raises ModelError as `prune_tokens`."""
        insert = Inserter(self.model)
        cuts = {}
        for layer, rate in rates.items():
            line = [insert.constant(self._as_state(each)) for each in lines.get(layer, ())]
            cuts[layer] = Cut(insert.constant(np.asarray(rate, np.float32)), *line)
        return prune_tokens(self.model, self.stream, cuts, self.axes, MASK)

    def with_rates_as_inputs(self, lines: Lines) -> tuple[ir.Model, dict[int, str]]:
        """Return a copy that lets tokens go behind every layer, and the input by layer that says how many go on."""
        copy = self.model.clone()
        insert, cuts = Inserter(copy), {}
        for layer in self.layers:
            line = [insert.constant(self._as_state(each)) for each in lines.get(layer, ())]
            cuts[layer] = Cut(insert.graph_input(f"rate behind layer {layer}", ir.DataType.FLOAT), *line)
        names = {layer: str(cut.rate.name) for layer, cut in cuts.items()}
        prune_tokens(copy, find_token_stream(copy.graph), cuts, self.axes, MASK)
        return copy, names

    def _as_state(self, entries: np.ndarray) -> np.ndarray:
        dtype = self.stream.end.dtype
        return entries.astype(np.float32 if dtype is None else dtype.numpy())


def spread(batches: Sequence[CalibrationBatch], most_tokens: int) -> list[CalibrationBatch]:
    """Return some of ``batches``, short and long ones, with about so many tokens."""
    sizes = [batch.positions for batch in batches]
    count = max(1, min(len(batches), round(most_tokens / (sum(sizes) / len(sizes)))))
    return [batches[(2 * place + 1) * len(batches) // (2 * count)] for place in range(count)]


def _line(
    count: np.ndarray, x: np.ndarray, y: np.ndarray, xx: np.ndarray, xy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    spread = xx / count - (x / count) ** 2
    slope = (xy / count - x * y / count**2) / np.where(spread > 0, spread, 1.0)
    return slope, (y - slope * x) / count
