"""What each stage of ``optimize`` has to compute, in floating-point operations: a cost model on paper, for any encoder.

A multiplication with an addition counts as two. n is the input width of a weight, o its output width, T the tokens of the
calibration text (padded ones run too), P = Σ n·o over the weights, and F = 2 P T + attention a forward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROBE_TOKENS = 256
"""See `squeeze_onnx.evaluate.output_error`."""

STAGES = ("calibration", "fisher", "blocks", "sensitivity", "rewrite")
"""Those that compute."""

_EIGEN = 9.0
"""Times n³: eigenvalues and eigenvectors of a symmetric matrix (Golub & Van Loan 2013, section 8.3)."""


@dataclass(frozen=True)
class Weight:
    """A weight (``inputs``, ``outputs``) that reads the value ``rows``; its layer counts from 0, None outside."""

    rows: str
    inputs: int
    outputs: int
    layer: int | None

    @property
    def entries(self) -> int:
        """How many numbers it has."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Work:
    """An encoder and its text: ``tokens`` that run, ``lengths`` summed squares of them by batch (sequences · length²)."""

    weights: Sequence[Weight]
    tokens: int
    squared_lengths: float
    blocks: int

    @classmethod
    def of_shapes(cls, layers: int, hidden: int, inner: int, texts: int, length: int) -> "Work":
        """Return that of BERT's layers: four weights of attention and two of a feed-forward block each."""
        weights = []
        for layer in range(layers):
            weights += [Weight(f"{layer}/stream", hidden, hidden, layer)] * 3
            weights += [
                Weight(f"{layer}/context", hidden, hidden, layer),
                Weight(f"{layer}/normed", hidden, inner, layer),
            ]
            weights += [Weight(f"{layer}/neurons", inner, hidden, layer)]
        return cls(weights, texts * length, float(texts * length**2), 2 * layers)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len({weight.layer for weight in self.weights if weight.layer is not None})

    @property
    def read(self) -> list[int]:
        """The widths of the values that weights read, each value once: query, key and value share theirs."""
        return list({weight.rows: weight.inputs for weight in self.weights}.values())

    @property
    def forward(self) -> float:
        """F: the products with weights, and the two of attention, 4 h · length a token."""
        hidden = min(self.read)
        products = 2.0 * sum(weight.entries for weight in self.weights) * self.tokens
        return products + 4.0 * hidden * self.squared_lengths * self.layers

    def operations(self, keep: float) -> Mapping[str, float]:
        """Return the operations of each of `STAGES` if the fraction ``keep`` of the weights stays."""
        squares = float(sum(width**2 for width in self.read))
        cubes = float(sum(width**3 for width in self.read))
        gradients = float(sum(weight.outputs**2 for weight in self.weights))
        decompositions = sum(_decomposition(weight) for weight in self.weights)
        crossed = sum(2.0 * weight.entries for weight in self.weights)
        probe = self.forward * PROBE_TOKENS / max(self.tokens, 1) / 2  # half of the layers lie behind one, on average
        return {
            "calibration": self.forward + squares * self.tokens,
            "fisher": 2 * self.forward + gradients * self.tokens,
            "blocks": cubes,
            "sensitivity": probe * (len(self.weights) + self.blocks + self.layers) + decompositions,
            "rewrite": (1 + keep) * self.forward + (squares + crossed) * self.tokens + cubes + keep * decompositions,
        }


def _decomposition(weight: Weight) -> float:
    """A root of the second moment, the product with it, its Gram matrix, and the eigenvectors of that."""
    small, large = sorted((weight.inputs, weight.outputs))
    return weight.inputs**3 / 3 + weight.inputs * weight.entries + small**2 * large + _EIGEN * small**3
