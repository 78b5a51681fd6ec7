"""Adam with decoupled weight decay, on one vector, in place; each tensor in it moves at a rate of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import cos, pi

import numpy as np

BLOCK = 1 << 15
"""So many entries are updated at a time: the passes over them find them in the cache, and so take a fraction of the time."""

LEAST_SCALE = 1e-3
"""The scale of a tensor that is all zeros, a bias say."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate: up to ``peak`` in ``warm_up`` steps, then along half a cosine down to 0 at ``steps``."""

    peak: float
    steps: int
    warm_up: int

    def rate(self, step: int) -> float:
        """Return the rate of ``step``, counted from 0."""
        if step < self.warm_up:
            return self.peak * (step + 1) / self.warm_up
        return self.peak * 0.5 * (1 + cos(pi * (step - self.warm_up) / max(self.steps - self.warm_up, 1)))


@dataclass
class AdamW:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1) with decoupled weight decay (Loshchilov & Hutter, 1711.05101).

    ``mean`` and ``square`` are the running moments of the gradient, float32 like the parameters; ``steps`` counts the updates.
    ``scales`` are the length of each tensor of the vector, in order, and what the rate is multiplied by for it.
    """

    mean: np.ndarray
    square: np.ndarray
    scales: tuple[tuple[int, float], ...]
    steps: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    _scratch: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._scratch = np.empty_like(self.mean[:BLOCK])

    @classmethod
    def fresh(cls, tensors: Iterable[np.ndarray], *, weight_decay: float = 0.0) -> "AdamW":
        """Return the optimizer of ``tensors`` before its first step; rates are relative to the root mean square of each.

        So a step is the same share of every weight, whatever factor two of them were multiplied with and divided by, as in
        Adafactor (Shazeer & Stern 2018, arXiv 1804.04235, section 8).
        """
        scales = tuple((each.size, max(float(np.sqrt(np.mean(np.square(each)))), LEAST_SCALE)) for each in tensors)
        size = sum(count for count, _ in scales)
        return cls(np.zeros(size, np.float32), np.zeros(size, np.float32), scales, weight_decay=weight_decay)

    def update(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Move ``parameters`` one step; ``gradient`` is used up."""
        self.steps += 1
        end = 0
        for count, scale in self.scales:
            start, end = end, end + count
            for place in range(start, end, BLOCK):
                block = slice(place, min(place + BLOCK, end))
                self._update(parameters[block], gradient[block], self.mean[block], self.square[block], rate * scale)

    def _update(
        self, parameters: np.ndarray, gradient: np.ndarray, mean: np.ndarray, square: np.ndarray, rate: float
    ) -> None:
        (beta1, beta2), scratch = self.betas, self._scratch[: len(parameters)]
        np.multiply(gradient, 1 - beta1, out=scratch)
        mean *= beta1
        mean += scratch
        np.multiply(gradient, gradient, out=gradient)
        gradient *= 1 - beta2
        square *= beta2
        square += gradient
        # m̂/(√v̂ + ε), with both corrections of the bias as numbers.
        np.sqrt(square, out=scratch)
        scratch *= (1 - beta2**self.steps) ** -0.5
        scratch += self.epsilon
        np.divide(mean, scratch, out=scratch)
        scratch *= rate / (1 - beta1**self.steps)
        if self.weight_decay:
            parameters *= 1 - rate * self.weight_decay
        parameters -= scratch


class MovingAverage:
    """The mean of parameters over about ``horizon`` steps, with weights that fade: it is calmer than any of them, and better.

    Polyak & Juditsky 1992; of the weights of a network, Izmailov et al. 2018, arXiv 1803.05407.
    """

    def __init__(self, start: np.ndarray, horizon: int) -> None:
        self.values = start.copy()
        self._share = 1 / max(horizon, 1)

    def add(self, parameters: np.ndarray) -> None:
        """Take in the parameters of a step."""
        for values, entries in _blocks(self.values, parameters):
            np.add(values, self._share * (entries - values), out=values)

    def swap(self, parameters: np.ndarray) -> None:
        """Exchange the average and ``parameters`` in place."""
        for values, entries in _blocks(self.values, parameters):
            values[:], entries[:] = entries.copy(), values.copy()


def _blocks(*vectors: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for start in range(0, len(vectors[0]), BLOCK):
        yield tuple(vector[start : start + BLOCK] for vector in vectors)


def clip(gradient: np.ndarray, largest: float) -> float:
    """Scale ``gradient`` in place to a norm of at most ``largest``; returns the norm it had, which may be infinite."""
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(gradient))
    if norm > largest:
        gradient *= largest / norm
    return norm
