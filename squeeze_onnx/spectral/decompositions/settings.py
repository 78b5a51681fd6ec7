"""A decomposition by name, as the command line, recipes and reports have it."""

from collections.abc import Callable
from dataclasses import dataclass

from squeeze_onnx.spectral.decompositions.automatic import Automatic
from squeeze_onnx.spectral.decompositions.base import Decomposer
from squeeze_onnx.spectral.decompositions.exact import Exact
from squeeze_onnx.spectral.decompositions.rsi import SubspaceIteration
from squeeze_onnx.spectral.decompositions.rsvd import Randomized
from squeeze_onnx.support.errors import OptionError

TOLERANCE = 0.01
"""RSI stops within one per cent of the optimal spectral error, unless told otherwise."""


@dataclass(frozen=True)
class DecompositionSettings:
    """``name`` of `DECOMPOSITIONS`; for RSI a number of power iterations, or the ``tolerance`` at which it stops by itself.

    Raises OptionError for an unknown name, and for settings that the named decomposition does not have.
    """

    name: str = "auto"
    power_iterations: int | None = None
    tolerance: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in DECOMPOSITIONS:
            raise OptionError(f"`decomposition` is one of {', '.join(DECOMPOSITIONS)}; got {self.name!r}")
        if self.power_iterations is not None and self.power_iterations < 1:
            raise OptionError(f"`power_iterations` is a whole number from 1 on; got {self.power_iterations}")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise OptionError(f"`tolerance` is a float between 0 and 1, both excluded; got {self.tolerance}")
        given = {"power_iterations": self.power_iterations, "tolerance": self.tolerance}
        for option in (option for option, value in given.items() if value is not None):
            if self.name not in ("auto", "rsi"):
                raise OptionError(f"`{option}` is of `decomposition` rsi, not of {self.name}; leave it out")
        if None not in given.values():
            raise OptionError("`tolerance` is what RSI stops at by itself; leave out `power_iterations`, or it")

    def decomposer(self) -> Decomposer:
        """Return what decomposes."""
        return DECOMPOSITIONS[self.name](self)


def _rsi(settings: DecompositionSettings) -> SubspaceIteration:
    tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
    return SubspaceIteration(settings.power_iterations, tolerance, seed=settings.seed)


DECOMPOSITIONS: dict[str, Callable[[DecompositionSettings], Decomposer]] = {
    "auto": lambda settings: Automatic(_rsi(settings)),
    "exact": lambda settings: Exact(),
    "rsvd": lambda settings: Randomized(seed=settings.seed),
    "rsi": _rsi,
}
"""How each name is made from the settings."""
