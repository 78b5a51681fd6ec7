"""Where randomized subspace iteration is faster than the exact decomposition: what ``--decomposition auto`` goes by.

    python -m tools.choose_decomposition [--row LABEL …]

Times both, in seconds of the processor, on matrices with σᵢ = i^−½, by shape and rank, and keeps rows of
models/decompositions/results/choice.json.
"""

import time
from functools import cache
from itertools import product

import click
import numpy as np

from squeeze_onnx.spectral.decompositions import Decomposer, Exact, SubspaceIteration
from tools.measuring import Clock, Recorder, row_options

SHAPES = ((768, 3072), (1024, 4096), (2048, 8192))
SHARES = (1 / 16, 1 / 8, 1 / 4)
EXPONENT = 0.5
METHODS: dict[str, Decomposer] = {"exact": Exact(), "rsi": SubspaceIteration()}


@click.command()
@row_options
def main(recorder: Recorder) -> None:
    """Measure, and keep rows in models/decompositions/results/choice.json."""
    for shape, share in product(SHAPES, SHARES):
        rank = int(share * min(shape))
        label = f"{shape[0]}×{shape[1]}, rank {rank}"
        if recorder.wants(label):
            clock = Clock()
            seconds = {name: timed(method, matrix(shape), rank) for name, method in METHODS.items()}
            values = {"shape": shape, "rank": rank, "seconds": seconds}
            command = ("tools.choose_decomposition",)
            recorder.keep("decompositions/choice", label, command, values, {}, seconds=clock.lap(), speed=True)


@cache
def matrix(shape: tuple[int, int]) -> np.ndarray:
    """Return a matrix with singular values i^-½."""
    side, rng = min(shape), np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, side)))[0] for size in shape)
    product_: np.ndarray = (left * np.arange(1.0, side + 1) ** -EXPONENT) @ right.T
    return product_


def timed(method: Decomposer, weight: np.ndarray, rank: int) -> float:
    """Return the processor seconds that ``method`` takes."""
    start = time.process_time()
    method.decompose(weight, rank)
    return round(time.process_time() - start, 3)


if __name__ == "__main__":
    main()
