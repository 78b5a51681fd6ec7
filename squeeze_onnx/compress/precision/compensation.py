"""Rounding one input after the other, what each one loses made up for by those that are still to come.

‖(W − Q)ᵀ X‖ is what counts, not ‖W − Q‖: inputs that go together can stand in for each other. With H the second moment of the
inputs and U upper triangular, UᵀU = H⁻¹, the best of what is left of a row once its entry j was rounded by δ is w − δ U_j / U_jj
(Frantar et al. 2023, "GPTQ", arXiv 2210.17323, section 3). No entry is rounded twice and no label or gradient is used.
"""

import numpy as np
import scipy.linalg

from squeeze_onnx.compress.precision.rounding import Blocks, round_blocks
from squeeze_onnx.spectral.moments import SecondMoment

DAMPING = 0.01
"""Added to the diagonal of H, over its mean: inputs that calibration hardly met are not to carry what others lost."""


def round_compensated(matrix: np.ndarray, moment: SecondMoment, *, bits: int, size: int) -> Blocks:
    """Round ``matrix`` (rows, columns), whose columns meet inputs of this ``moment``, in blocks of ``size`` columns."""
    left, root = matrix.astype(np.float64), _root_of_inverse(moment)
    importance = moment.diagonal
    parts: list[Blocks] = []
    for start in range(0, matrix.shape[1], size):
        block = slice(start, min(start + size, matrix.shape[1]))
        part = round_blocks(left[:, block], bits=bits, size=size, importance=importance[block])
        errors = _round_in_turn(left[:, block], part, root[block, block])
        left[:, block.stop :] -= errors @ root[block, block.stop :]
        parts.append(part)
    integers, scales = (
        np.concatenate(each, axis=1) for each in zip(*((p.integers, p.scales) for p in parts), strict=True)
    )
    return Blocks(integers, scales, bits, matrix.shape[1])


def _round_in_turn(left: np.ndarray, block: Blocks, root: np.ndarray) -> np.ndarray:
    """Set the integers of ``block`` (one block of each row) by its scales, column by column; returns δ / U_jj (rows, columns)."""
    errors = np.empty_like(left)
    scale, levels = block.scales[:, 0], 2 ** (block.bits - 1)
    for column in range(left.shape[1]):
        rounded = np.rint(left[:, column] / scale).clip(-levels, levels - 1)
        block.integers[:, 0, column] = rounded
        errors[:, column] = (left[:, column] - rounded * scale) / root[column, column]
        left[:, column + 1 :] -= np.outer(errors[:, column], root[column, column + 1 :])
    return errors


def _root_of_inverse(moment: SecondMoment) -> np.ndarray:
    """Return upper triangular U (columns, columns) with UᵀU = H⁻¹."""
    damped = moment.mean_product
    damped[np.diag_indices_from(damped)] += max(DAMPING * float(moment.diagonal.mean()), np.finfo(np.float64).tiny)
    # H reversed is RᵀR; reversed again R⁻¹ is what is sought, with no inverse of H in between.
    reversed_root = scipy.linalg.cholesky(damped[::-1, ::-1], check_finite=False)
    identity = np.eye(len(damped))
    inverse: np.ndarray = scipy.linalg.solve_triangular(reversed_root, identity, check_finite=False)
    return inverse[::-1, ::-1].T
