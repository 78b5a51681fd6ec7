"""The plan: what will happen to every site. JSON that people read, edit and re-apply."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from squeeze_onnx.compress.planned_site import PlannedSite
from squeeze_onnx.support.shown import Shown

FORMAT = "squeeze-onnx/plan/1"


@dataclass(frozen=True)
class PlannedPrecision:
    """What the squeezed weights are stored in, and the names of those ``kept`` in a higher precision (None: not chosen yet).

    ``target_cpu`` names the processors that products of integers are written for (`squeeze_onnx.compress.precision.TARGETS`).
    """

    name: str = "fp32"
    kept: tuple[str, ...] | None = None
    target_cpu: str = "any"

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``plan.json``."""
        kept = None if self.kept is None else list(self.kept)
        return {"name": self.name, "kept": kept, "target_cpu": self.target_cpu}


@dataclass(frozen=True)
class PlannedTokens:
    """What was asked for (`prune_tokens`), and which part of the tokens of a text goes on behind which layers."""

    asked: float
    rates: Mapping[int, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``plan.json``."""
        return {
            "asked": self.asked,
            "layers": [{"layer": layer, "rate": rate} for layer, rate in self.rates.items()],
        }


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What becomes of all eligible sites, the sites left out and why, and what was asked for.

    With ``refit`` the weights are not only truncated but regressed on what the squeezed model before them returns, the
    dense ones among ``sites`` too.
    """

    method: str
    budget: Mapping[str, Any]
    sites: tuple[PlannedSite, ...]
    skipped: tuple[Mapping[str, str], ...] = ()
    refit: bool = False
    precision: PlannedPrecision = PlannedPrecision()
    tokens: PlannedTokens | None = None

    def summary(self) -> dict[str, str]:
        """Return the method, the budget, how many sites there are, and the precision."""
        budget = ", ".join(f"{name} {value}" for name, value in self.budget.items())
        rewritten = sum(site.treatment != "dense" for site in self.sites)
        return {
            "method": self.method,
            "budget": budget,
            "sites": f"{rewritten} of {len(self.sites)} rewritten",
            "precision": self.precision.name,
        }

    @property
    def eligible_parameters(self) -> int:
        """Parameters of all eligible weights before."""
        return sum(site.dense_parameters for site in self.sites)

    @property
    def kept_parameters(self) -> int:
        """Parameters of all eligible weights after."""
        return sum(site.kept_parameters for site in self.sites)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``plan.json``."""
        return {
            "format": FORMAT,
            "method": self.method,
            "budget": dict(self.budget),
            "refit": self.refit,
            "precision": self.precision.to_json(),
            **({} if self.tokens is None else {"tokens": self.tokens.to_json()}),
            "sites": [site.to_json() for site in self.sites],
            "skipped": [dict(site) for site in self.skipped],
        }
