"""What `tools.bench_quality` measures: the rows of its tables, and what makes each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from squeeze_onnx import OptimizeConfig
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.text_amounts import TO_CALIBRATE, TO_DISTILL
from tools.measuring import BUDGETS


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    label: str
    options: Mapping[str, Any]
    rows: int = TO_CALIBRATE.rows

    @property
    def config(self) -> OptimizeConfig:
        """What is asked for; the p-values of `analyze` do not matter here, so one simulation does."""
        return OptimizeConfig(**self.options, simulations=1)

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.options["method"])

    @property
    def data_aware(self) -> bool:
        """Say whether it reads text."""
        return self.method == "auto" or METHODS[self.method].needs_calibration

    @property
    def learned(self) -> bool:
        """Say whether weights learn over hundreds of steps."""
        return "distill" in self.options or (self.method != "auto" and METHODS[self.method].learns)

    @property
    def shares(self) -> str:
        """Name the survey of the model that it takes; runs that agree in this can share it."""
        sliced = f", {len(self.config.sliced)} forms sliced" if self.config.sliced else ""
        preset = f", {self.options['preset']}" if "preset" in self.options else ""
        return f"survey: {self.method}{preset}{sliced}, {self.rows if self.data_aware else 0:,} rows"


TRUNCATION = {"method": "whiten", "slice_neurons": False, "thin_heads": False, "joint_qkv": False, "refit": False}
"""`whiten` as a truncated SVD in another metric under one budget, with nothing sliced, shared or regressed."""

TAUGHT = (0.5, 0.33, 0.25)
"""The budgets that distillation is measured at; on half the text too, beside what it starts from on that."""

RUNS = (
    Run("SQUEEZE to the letter: every weight at its 95 % edge", {"method": "squeeze"}),
    Run("SQUEEZE, FFN only, effective rank −64 %", {"method": "squeeze", "preset": "paper-ffn"}),
    Run("SQUEEZE, file −8.1 %", {"method": "squeeze", "preset": "paper-size"}),
    *(Run(f"SQUEEZE, keep {keep}", {"method": "squeeze", "keep": keep}) for keep in BUDGETS),
    *(Run(f"SVD, keep {keep}", {"method": "svd", "keep": keep}) for keep in BUDGETS),
    *(Run(f"whiten, truncation only, keep {keep}", TRUNCATION | {"keep": keep}) for keep in BUDGETS),
    *(Run(f"whiten, keep {keep}", {"method": "whiten", "keep": keep}) for keep in BUDGETS),
    *(Run(f"fisher, keep {keep}", {"method": "fisher", "keep": keep}) for keep in BUDGETS),
    *(
        Run(f"fisher, int4, keep {keep}", {"method": "fisher", "keep": keep, "precision": "int4"})
        for keep in (0.75, 0.5)
    ),
    Run("soco, 1,024 rows, keep 0.5", {"method": "soco", "keep": 0.5}),
    *(Run(f"soco, keep {keep}", {"method": "soco", "keep": keep}, rows=TO_DISTILL.rows) for keep in BUDGETS),
    *(Run(f"auto, 4,096 rows, keep {keep}", {"method": "auto", "keep": keep}, rows=4096) for keep in TAUGHT),
    *(
        Run(f"distilled, 4,096 rows, keep {keep}", {"method": "auto", "keep": keep, "distill": "auto"}, rows=4096)
        for keep in TAUGHT
    ),
    *(
        Run(f"distilled, keep {keep}", {"method": "auto", "keep": keep, "distill": "auto"}, rows=TO_DISTILL.rows)
        for keep in TAUGHT
    ),
    *(
        Run(f"whiten, {precision}, keep 0.5", {"method": "whiten", "keep": 0.5, "precision": precision})
        for precision in PRECISIONS
        if precision != "fp32"
    ),
)

KEPT_PLANS = {f"{method}, keep {keep}": f"{method}-{keep}" for method in ("whiten", "fisher") for keep in BUDGETS}
"""Runs whose plans stay in models/NAME/plans, to be applied again or to a model of the same architecture."""
