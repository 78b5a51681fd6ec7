"""How spectra are judged."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.spectral.rmt.noise import NOISE_ESTIMATORS
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Spectra(Part):
    """What noise is, and what draws random numbers.

    noise: estimator of the noise level σ: entries, median or bulk (`squeeze_onnx.spectral.rmt.noise.NOISE_ESTIMATORS`).
    probability: Tracy–Widom quantile of the noise edge, between 0 and 1.
    simulations: draws behind each Kolmogorov–Smirnov p-value.
    seed: seed of all random numbers.
    """

    noise: str = "entries"
    probability: float = 0.95
    simulations: int = 99
    seed: int = 0

    def check(self) -> None:
        """Raise OptionError for what is out of range."""
        one_of("noise", self.noise, NOISE_ESTIMATORS)
        if not 0 < self.probability < 1:
            raise OptionError(f"`probability` is a float between 0 and 1, both excluded; got {self.probability}")
        if self.simulations < 1:
            raise OptionError(f"`simulations` is a positive integer; got {self.simulations}")
