"""Weightings: the change of variables under which a weight is truncated.

A truncated SVD is the best rank-r approximation in the plain Frobenius norm. A weighting maps the weight W (in, out) to
another matrix of the same shape, in which the plain norm is the error one cares about, and maps the truncation back to
factors of W itself. A new weighting is one file here, one line in `squeeze_onnx.compress.methods` and one test file.
"""

from squeeze_onnx.spectral.weightings.activations import ActivationScale, Whitening
from squeeze_onnx.spectral.weightings.base import WeightedMatrix, Weighting
from squeeze_onnx.spectral.weightings.element_wise import ElementWise
from squeeze_onnx.spectral.weightings.fisher_rows import FisherRows
from squeeze_onnx.spectral.weightings.identity import Identity
from squeeze_onnx.spectral.weightings.kronecker import Kronecker
from squeeze_onnx.spectral.weightings.learned import LearnedSpectrum
from squeeze_onnx.spectral.weightings.standardization import Standardization

__all__ = [
    "ActivationScale",
    "ElementWise",
    "FisherRows",
    "Identity",
    "Kronecker",
    "LearnedSpectrum",
    "Standardization",
    "WeightedMatrix",
    "Weighting",
    "Whitening",
]
