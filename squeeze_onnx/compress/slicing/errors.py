"""What a block loses, in the terms of its sites."""

import numpy as np

from squeeze_onnx.compress.allocators import Candidate
from squeeze_onnx.compress.truncation import TruncationErrors, replacement_errors
from squeeze_onnx.graph.match.consumers import Bias, find_biases
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.decompositions import singular_values
from squeeze_onnx.spectral.moments import SecondMoment


def seen_moment(moment: SecondMoment, bias: Bias | None) -> np.ndarray:
    """Return the moment that counts behind a site: about the mean if its ``bias`` can take up what the means did."""
    return moment.mean_product if bias is None else moment.covariance


def moment_behind(moment: SecondMoment, site: MatMulSite) -> np.ndarray:
    """Return the `seen_moment` of what ``site`` reads: about the mean if there is a bias at every place."""
    biases = find_biases(site)
    return seen_moment(moment, biases[0] if len(biases) == len(site.nodes) else None)


def relative_output_error(errors: np.ndarray, reader: Candidate) -> np.ndarray:
    """Turn squared ``errors`` of the output of ``reader``, means over tokens, into error of the model's output."""
    energy = float(np.square(reader.spectrum.singular_values).sum())
    return reader.sensitivity * errors / energy if energy > 0 else np.zeros_like(errors)


def dropped_columns_errors(weight: np.ndarray, sliced: np.ndarray) -> TruncationErrors:
    """Return what is lost of ``weight``, unweighted; what its columns are worth is counted where they are read."""
    lost, total = (float(np.square(matrix).sum()) for matrix in (weight - sliced, weight))
    return replacement_errors(weight, sliced, lost, total, singular_values(sliced))


def output_errors(weight: np.ndarray, sliced: np.ndarray, moment: np.ndarray) -> TruncationErrors:
    """Return what the output of a block loses if ``sliced`` takes the place of ``weight``, given the ``moment`` of its rows."""
    lost, total = (float(np.vdot(matrix, moment @ matrix)) for matrix in (weight - sliced, weight))
    return replacement_errors(weight, sliced, lost, total, singular_values(sliced))
