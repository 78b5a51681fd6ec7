"""What squeezing a loaded model returns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.precision import Encoded
from squeeze_onnx.compress.soco.stages import StageRecord
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.compress.tokens.stage import PrunedTokens
from squeeze_onnx.compress.truncation import TruncationErrors
from squeeze_onnx.evaluate.certificate import Certificate
from squeeze_onnx.evaluate.last_look import LastLook
from squeeze_onnx.graph.fused.fusion import FusionCounts
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.learning.distill import DistillationResult
from squeeze_onnx.support.shown import Shown


@dataclass(frozen=True, repr=False)
class SqueezeResult(Shown):
    """A squeezed model, the plan that was carried out, the spectra behind it, and what each rewritten site lost.

    ``timing`` is in seconds per stage; ``errors`` holds the rewritten sites only, by name, as they were before ``distillation``.
    ``stages`` are those of a method that learns. ``fused`` counts operators, ``tokens`` says which go on behind which layers, and
    ``precision`` how weights were rounded, where that was asked for; ``encoded`` are weights that learned as they will be stored,
    by site. Without calibration data there is neither ``last_look`` nor ``certificate``.
    """

    model: OnnxModel
    plan: Plan
    spectra: tuple[SiteSpectra, ...]
    errors: Mapping[str, TruncationErrors]
    timing: Mapping[str, float]
    stages: tuple[StageRecord, ...] = ()
    distillation: DistillationResult | None = None
    certificate: Certificate | None = None
    last_look: LastLook | None = None
    fused: FusionCounts | None = None
    precision: Mapping[str, Any] | None = None
    encoded: Mapping[str, Encoded] = field(default_factory=dict)
    tokens: PrunedTokens | None = None

    def summary(self) -> dict[str, str]:
        """Return the method, how many sites were rewritten, and what stays of their parameters."""
        kept = self.plan.kept_parameters / max(self.plan.eligible_parameters, 1)
        return {
            "method": self.plan.method,
            "sites": f"{len(self.errors)} of {len(self.plan.sites)} rewritten",
            "kept": f"{kept:.1%} of {self.plan.eligible_parameters:,} eligible parameters",
            "precision": self.plan.precision.name,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values: all but the model, the spectra and integers, under the names of report.json."""
        parts = ("distillation", "certificate", "last_look", "fused", "tokens")
        return {
            "plan": self.plan.to_json(),
            "errors": {name: asdict(errors) for name, errors in self.errors.items()},
            "stages": [stage.to_json() for stage in self.stages],
            **{part: None if (found := getattr(self, part)) is None else found.to_json() for part in parts},
            "precision": None if self.precision is None else dict(self.precision),
            "timing": dict(self.timing),
        }
