"""Reading the weight of a site, exactly and once it is needed."""

import numpy as np

from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.support.errors import ModelError


def read_weight(site: MatMulSite) -> np.ndarray:
    """Read the weight of ``site``, (in, out), in float64.

    Raises ModelError naming the site if it holds NaN or infinity.
    """
    weight: np.ndarray = site.weight.numpy().astype(np.float64)
    if not np.isfinite(weight).all():
        raise ModelError(
            f"the weight {site.weight.name} of node {site.name} holds NaN or infinite values; export the model again, or "
            f"leave it alone with `exclude` {site.name}"
        )
    return weight
