"""Which sites of a model are worked on: those that are eligible, or those that a plan speaks of."""

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from squeeze_onnx.compress.config import AnalyzeConfig, OptimizeConfig
from squeeze_onnx.compress.efforts import UNASKED
from squeeze_onnx.compress.eligibility import choose_eligible, refuse_vain_include
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planning import planned_sites_of
from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.graph.io.model import OnnxModel
from squeeze_onnx.graph.match.constants import TRY_DEQUANTIZING
from squeeze_onnx.graph.match.operators import INTEGERS
from squeeze_onnx.graph.match.sites import MatMulSite, SiteSearch, SkippedSite, find_sites
from squeeze_onnx.support.errors import ModelError, OptionError

_DEQUANTIZED = "`dequantize` does not know how it is stored: squeeze the float model first and quantize afterwards"


def find_sites_of(model: ir.Model, config: AnalyzeConfig) -> SiteSearch:
    """Return what `find_sites` does; a reason that advises `dequantize` says why that was in vain, if it was given."""
    found = find_sites(model)
    if not config.dequantize:
        return found

    def tried(reason: str) -> str:
        reason = reason.replace(INTEGERS, f"stores its weight as integers; {_DEQUANTIZED}")
        return reason.replace(TRY_DEQUANTIZING, _DEQUANTIZED)

    return replace(found, skipped=tuple(replace(site, reason=tried(site.reason)) for site in found.skipped))


def choose_sites(
    model: OnnxModel, found: SiteSearch, config: OptimizeConfig, plan: Plan | None = None
) -> tuple[tuple[MatMulSite, ...], tuple[SkippedSite, ...]]:
    """Return the sites to work on of those that were ``found``, and all others with the reason they are left alone.

    With a ``plan`` its sites count. Raises ModelError if no site is eligible, OptionError if the plan does not fit the model, or
    if no site has a role that is to be taken in.
    """
    if plan is not None:
        if plan.method not in METHODS:
            raise OptionError(f"the plan's method {plan.method!r} is unknown; known methods are {', '.join(METHODS)}")
        return planned_sites_of(plan, found.sites), found.skipped
    roles = PRESETS[config.preset]().roles if config.preset else frozenset()
    eligibility = choose_eligible(found.sites, config.include, config.exclude, only=roles)
    skipped = found.skipped + eligibility.left_out
    if not eligibility.sites:
        raise nothing_to_do(model, skipped)
    if config.byte_limit is None or config.include != UNASKED:
        refuse_vain_include(config.include, found.sites, eligibility, model.path)
    return eligibility.sites, skipped


def nothing_to_do(model: OnnxModel, skipped: Sequence[SkippedSite]) -> ModelError:
    """Say that ``model`` has no site to work on, and why the first one that was looked at is none."""
    why = f"; {skipped[0].name}: {skipped[0].reason}" if skipped else " at all"
    return ModelError(f"{model.path} has no eligible MatMul, Gemm or Gather with a constant weight{why}")
