"""The stages of SoCo, each of which sets the price of a parameter and ends by what it sees.

The paper names the stages; reviewers asked for a principled switch between them. The criteria here are ours.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np

StageName = Literal["compression", "alternation", "sparsification"]

STAGES: tuple[StageName, ...] = get_args(StageName)
"""All stages, in order."""

SWING = 10
"""Over how many steps the size must stay near the budget for its swing to have died down."""

SLOWLY = 0.25
"""The rise of the price in stage 2, as a power of that in stage 1."""

BUDGET_TOLERANCE = 0.01
"""How near the budget is near enough, in shares of all eligible parameters."""


@dataclass(frozen=True)
class Sight:
    """What a stage sees after a step.

    ``size`` is the share of the parameters that open components take, ``pending`` how many components are to be pruned but
    not yet at zero, ``loss`` how far the answers are from the dense model's.
    """

    size: float
    pending: int
    loss: float


@dataclass(frozen=True)
class StageRecord:
    """How a stage ended: after how many ``steps``, at which ``price``, ``size`` and mean ``loss`` of its last steps.

    ``met`` says whether its criterion ended it.
    """

    name: str
    steps: int
    price: float
    size: float
    loss: float
    met: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class SocoStage(Protocol):
    """A part of the run."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        ...

    @property
    def price(self) -> float:
        """What a share of 1 of all parameters costs, in units of the loss."""
        ...

    @property
    def pace(self) -> float:
        """Factor of the learning rates."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the criterion is met."""
        ...

    def see(self, sight: Sight) -> None:
        """Take in one step."""
        ...


@dataclass
class Compression:
    """Stage 1, rapid coarse compression: the price rises by ``growth`` every step until the budget ``keep`` is met."""

    keep: float
    price: float
    growth: float
    name = "compression"
    pace = 1.0
    is_over: bool = False

    def see(self, sight: Sight) -> None:
        """Raise the price, or end."""
        self.is_over = sight.size <= self.keep + BUDGET_TOLERANCE
        if not self.is_over:
            self.price *= self.growth


@dataclass
class Alternation:
    """Stage 2, alternating refinement: above the budget parameters cost ``full_price``, under it nothing, and crossing it halves
    the pace.

    Components that closed too early come back, others go. The full price rises slowly above the budget, so that it is enough
    in the end. It is over when the size has been near the budget for `SWING` steps, after a crossing or more.
    """

    keep: float
    full_price: float
    growth: float
    name = "alternation"
    pace: float = 1.0
    is_over: bool = False
    _above: bool = True
    _crossings: int = 0
    _near: int = 0

    @property
    def price(self) -> float:
        """The full price or none."""
        return self.full_price if self._above else 0.0

    def see(self, sight: Sight) -> None:
        """Turn the price on or off."""
        if self._above:
            self.full_price *= self.growth**SLOWLY
        above = sight.size > self.keep
        if above != self._above:
            self._above, self._crossings, self.pace = above, self._crossings + 1, self.pace / 2
        self._near = self._near + 1 if abs(sight.size - self.keep) <= BUDGET_TOLERANCE else 0
        self.is_over = self._crossings > 0 and self._near >= SWING


@dataclass
class Sparsification:
    """Stage 3: the price of what is to be pruned rises until all of it is at zero; then what stays is refined.

    Refinement goes at half the ``pace`` and halves it again whenever the mean loss of ``window`` steps is no longer less than
    that of the ``window`` before by ``improvement``; it is over at the plateau after ``halvings``.
    """

    price: float
    growth: float
    window: int
    improvement: float = 0.01
    halvings: int = 3
    name = "sparsification"
    pace: float = 1.0
    is_over: bool = False
    _losses: list[float] = field(default_factory=list)
    _before: float = np.inf

    def see(self, sight: Sight) -> None:
        """Raise the price, or judge the refinement."""
        if sight.pending:
            self.price *= self.growth
            return
        self.pace = min(self.pace, 0.5)
        self._losses.append(sight.loss)
        if len(self._losses) < self.window:
            return
        mean = float(np.mean(self._losses))
        if mean > (1 - self.improvement) * self._before:
            self.is_over = self.pace <= 0.5**self.halvings
            self.pace /= 2
        self._before = mean
        self._losses.clear()
