"""What is written."""

from dataclasses import dataclass

from squeeze_onnx.compress.precision import PRECISIONS, TARGETS, THIS
from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.graph.fused.fusion import FUSIONS
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name


@made_by_name
@dataclass(frozen=True)
class Output(Part):
    """How the squeezed model is stored.

    precision: what weights are stored in: fp32, fp16, int8, int8-static, int8-int4 or int4; None for that of the plan,
        or of the model: int8 or int4 if it came quantized, else fp32.
    target_cpu: processors that products of integers are written for: any, avx2, avx512, vnni, arm64 or this; None for those of
        the plan, or any.
    fuse: provider for which operators are fused, cpu or cuda; None for plain ONNX.
    external_data: whether weights are written beside model.onnx.
    force_write: whether the model is written even if it answers far from what was predicted.
    """

    precision: str | None = None
    target_cpu: str | None = None
    fuse: str | None = None
    external_data: bool = False
    force_write: bool = False

    def check(self) -> None:
        """Raise OptionError for an unknown word, and for a precision without kernels where operators are fused for."""
        if self.fuse is not None:
            one_of("fuse", self.fuse, FUSIONS)
        if self.precision is not None:
            one_of("precision", self.precision, PRECISIONS)
            refuse_without_kernels(self.precision, "fuse", self.fuse)
        if self.target_cpu is not None:
            one_of("target_cpu", self.target_cpu, [THIS, *TARGETS])


def refuse_without_kernels(precision: str, setting: str, provider: str | None) -> None:
    """Raise OptionError if ``precision`` has no kernels on the ``provider`` that ``setting`` names."""
    if provider in FUSIONS and provider not in PRECISIONS[precision].providers:
        raise OptionError(f"`precision` {precision} has no kernels on {provider}; leave out `{setting}` {provider}")
