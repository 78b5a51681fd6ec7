"""Candidates with spectra that can be counted by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.spectral.rmt.spectrum import Spectrum

MakeCandidate = Callable[..., Candidate]


@pytest.fixture
def candidate() -> MakeCandidate:
    def make(name: str, values: list[float], shape: tuple[int, int], edge: float = 1.0, **options: float) -> Candidate:
        spectrum = Spectrum(np.array(values, dtype=np.float64), shape, "identity")
        return Candidate(name, spectrum, edge, **options)  # type: ignore[arg-type]

    return make
