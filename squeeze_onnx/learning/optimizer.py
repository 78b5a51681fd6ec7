"""Adam with decoupled weight decay, on one vector, in place."""

from dataclasses import dataclass, field
from math import cos, pi

import numpy as np

BLOCK = 1 << 15
"""So many entries are updated at a time: the passes over them find them in the cache, and so take a fraction of the time."""


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
    """

    mean: np.ndarray
    square: np.ndarray
    steps: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    _scratch: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._scratch = np.empty_like(self.mean[:BLOCK])

    @classmethod
    def fresh(cls, size: int, *, weight_decay: float = 0.0) -> "AdamW":
        """Return the optimizer of ``size`` parameters before its first step."""
        return cls(np.zeros(size, np.float32), np.zeros(size, np.float32), weight_decay=weight_decay)

    def update(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Move ``parameters`` one step; ``gradient`` is used up."""
        self.steps += 1
        for start in range(0, len(parameters), BLOCK):
            block = slice(start, start + BLOCK)
            self._update(parameters[block], gradient[block], self.mean[block], self.square[block], rate)

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


def clip(gradient: np.ndarray, largest: float) -> float:
    """Scale ``gradient`` in place to a norm of at most ``largest``; returns the norm it had, which may be infinite."""
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(gradient))
    if norm > largest:
        gradient *= largest / norm
    return norm
