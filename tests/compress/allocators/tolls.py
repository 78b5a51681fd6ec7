"""A cost by which tests tell what was asked for."""

import numpy as np


class Toll:
    """Tells rows from columns, and the first factor from the second."""

    def into(self, rows: int, sizes: np.ndarray) -> np.ndarray:
        return np.asarray(1000 + 100 * rows + sizes)

    def out_of(self, sizes: np.ndarray, columns: int) -> np.ndarray:
        return np.asarray(20_000 + 10 * sizes + 300 * columns)
