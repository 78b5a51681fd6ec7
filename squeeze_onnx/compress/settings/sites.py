"""Which weights are looked at."""

from dataclasses import dataclass

from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Sites(Part):
    """What is taken in and left out, and what the model is made before.

    include: roles taken in beside those of the layers: embedding, pooler, classifier, other.
    exclude: roles, or names of single sites, that are left out.
    dequantize: whether weights stored as integers are turned into floats first.
    freeze_inputs: whether initializers that are graph inputs too become constants (`squeeze_onnx.compress.preparing`).
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    dequantize: bool = False
    freeze_inputs: bool = False

    def check(self) -> None:
        """Raise OptionError for an unknown role; names of sites are known when the model is."""
        for role in self.include:
            one_of("include", role, map(str, Role))
