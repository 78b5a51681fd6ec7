"""Tracy–Widom edge: SQUEEZE's fourth and fifth step."""

from dataclasses import dataclass, field

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.noise import EntryVariance, NoiseEstimator
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.spectral.rmt.summary import find_cut
from squeeze_onnx.spectral.rmt.tracy_widom import tracy_widom_quantile


@dataclass(frozen=True)
class TracyWidomEdge:
    """Keep the singular values above what the largest one of pure noise stays below with ``probability``.

    The edge is σ·√(μ + τ·F₁⁻¹(probability)) with the centre μ and the scale τ of Johnstone (2001), Ann. Statist. 29, 295, as
    corrected for finite matrices in `squeeze_onnx.spectral.rmt.tracy_widom.noise_edge`, which has their equations.

    On a matrix of noise alone a component is kept with probability 1 − ``probability`` if σ is known, about so with σ
    from the entries or the bulk, and somewhat more often with σ from the median (see `squeeze_onnx.spectral.rmt.noise`).
    Raises `OptionError` for a probability outside [1e-10, 1 − 1e-10].
    """

    probability: float = 0.95
    noise: NoiseEstimator = field(default_factory=EntryVariance)

    def __post_init__(self) -> None:
        tracy_widom_quantile(self.probability)  # out of range is better said now than after the first decomposition

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Cut at the edge for the shape of ``spectrum`` and its noise level."""
        cut = find_cut(spectrum, self.noise, self.probability)
        reason = (
            f"{cut.signal_rank} of {spectrum.smaller_dimension} singular values are above {cut.tw_edge:.4g}, "
            f"the {100 * self.probability:g} % Tracy–Widom edge of noise with σ = {cut.noise_sigma:.4g}"
        )
        return RankChoice(cut.signal_rank, cut.tw_edge, "tracy-widom", reason)
