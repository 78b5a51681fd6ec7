"""How much worse a truncation does on text that its second moment was not estimated on."""

import numpy as np

from squeeze_onnx.spectral.moments import SecondMoment


def excess_error(weight: np.ndarray, read: SecondMoment, fresh: SecondMoment, rank: int) -> float:
    """Return by how much more of its output ``weight`` W (in, out) loses on ``fresh`` text than on the text that was ``read``.

    Cut to ``rank`` in the metric of a second moment M, the outputs lose their projection on the last eigenvectors Q of WᵀMW,
    the trace of QᵀWᵀMWQ. Those of few rows fit these rows: other rows lose more. The excess, 0 for none, falls as one over
    the number of independent rows (perturbation theory of covariance operators: Koltchinskii and Lounici 2017), so that
    what it is on a few says how many it takes to halve it. nan where nothing is lost on what was read.
    """
    seen, other = (weight.T @ moment.mean_product @ weight for moment in (read, fresh))
    values, vectors = np.linalg.eigh(seen)
    lost, last = float(values[: len(values) - rank].sum()), vectors[:, : len(values) - rank]
    if lost <= np.finfo(np.float64).eps * float(values.sum()):
        return float("nan")
    return float(np.einsum("ij,ij->", last, other @ last)) / lost - 1.0
