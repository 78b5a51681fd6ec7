"""Fixed rank: what somebody asked for."""

from dataclasses import dataclass

from squeeze_onnx.compress.selectors.base import RankChoice
from squeeze_onnx.spectral.rmt.spectrum import Spectrum
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class FixedRank:
    """Keep min(``rank``, in, out) components of every matrix; raises `OptionError` for a negative rank."""

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise OptionError(f"the fixed rank must be an int ≥ 0. Got {self.rank!r}")

    def select(self, spectrum: Spectrum) -> RankChoice:
        """Keep the leading components of ``spectrum``."""
        reason = f"{self.rank} components asked for, of {spectrum.smaller_dimension}"
        return RankChoice.leading(spectrum, self.rank, "fixed", reason)
