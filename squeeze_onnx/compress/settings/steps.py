"""By which method, and what it may do."""

from dataclasses import dataclass

from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Steps(Part):
    """How weights are squeezed.

    method: auto, squeeze, svd, whiten, fisher, fwsvd, tfwsvd or soco (`squeeze_onnx.compress.methods.METHODS`).
    slice_neurons: whether methods that look at activations may take whole neurons out of feed-forward blocks.
    thin_heads: whether they may take dimensions out of attention heads.
    remove_sublayers: whether whole attentions and feed-forward blocks may go where that does less damage under the budget than
        cutting more of the others.
    joint_qkv: whether query, key and value, or two of them, may share one left factor.
    refit: whether every weight is regressed on what the squeezed model before it returns; None for yes with whiten and fisher.
    decomposition: how singular triplets are found: exact, rsvd, rsi, or auto by shape.
    power_iterations: power iterations of rsi; None for as many as ``tolerance`` asks for.
    tolerance: error over the optimal one at which rsi stops.
    provider: where the model is run to look at activations: cpu or cuda.
    threads: intra-op threads of ONNX Runtime, wherever a model is run or timed; None for its choice.
    """

    method: str = "auto"
    slice_neurons: bool = True
    thin_heads: bool = True
    remove_sublayers: bool = False
    joint_qkv: bool = True
    refit: bool | None = None
    decomposition: str = "auto"
    power_iterations: int | None = None
    tolerance: float | None = None
    provider: str = "cpu"
    threads: int | None = None

    def check(self) -> None:
        """Raise OptionError for an unknown method; what decomposes, and what runs, look at their own settings."""
        one_of("method", self.method, ["auto", *METHODS])

    @property
    def sliced(self) -> tuple[str, ...]:
        """What may lose columns, as `squeeze_onnx.compress.slicing.KINDS` names it."""
        asked = {"neurons": self.slice_neurons, "heads": self.thin_heads}
        return tuple(kind for kind, wanted in asked.items() if wanted)
