"""Running graphs of tests in onnxruntime, and factoring their sites."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import onnxruntime

from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.graph.rewrite.rewriter import factor_site

Array = np.ndarray

PRECISE_INTEGERS = ("session.x64quantprecision", "1")
"""Session option: products of int8 do not saturate on x86 without VNNI, so that every machine has the same outputs."""

LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")


def run(model: ir.Model, feeds: Mapping[str, Array], level: str = "ENABLE_ALL") -> list[Array]:
    """Return the outputs of ``model`` in onnxruntime at a graph optimization level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.log_severity_level = 3
    options.add_session_config_entry(*PRECISE_INTEGERS)
    serialized = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(feeds))]


def svd_factors(weight: Array, rank: int) -> tuple[Array, Array]:
    """Return balanced factors (in, rank) and (rank, out) of the truncated SVD, in float64."""
    u, s, vh = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    scale = np.sqrt(s[:rank])
    return u[:, :rank] * scale, scale[:, None] * vh[:rank]


def factor_fully(model: ir.Model, site: MatMulSite) -> None:
    """Factor ``site`` at full rank."""
    factor_site(model, site, *svd_factors(site.weight.numpy(), min(site.in_features, site.out_features)))
