"""How many tokens go through all layers."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class FewerTokens(Part):
    """Which tokens go on behind the layers (`squeeze_onnx.compress.tokens`).

    prune_tokens: fraction of the multiplications with weights of the layers that stays: behind chosen layers only the tokens that
        the attention looks at go on. None, or 1, for all tokens everywhere.
    """

    prune_tokens: float | None = None

    def check(self) -> None:
        """Raise OptionError for a fraction that is none."""
        if self.prune_tokens is not None and not 0 < self.prune_tokens <= 1:
            raise OptionError(f"`prune_tokens` is a fraction above 0 and up to 1; got {self.prune_tokens}")
