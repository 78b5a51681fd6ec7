"""fp16: half the bytes, for devices that compute in float16; what would overflow there stays in float32."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Encoder, Evidence, KeptSite, Lowered
from squeeze_onnx.compress.precision.stored_bytes import StoredBytes, floats
from squeeze_onnx.compress.precision.through_files import through_files
from squeeze_onnx.data.calibration import session_showing
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.quantized.casts import skip_narrow_casts
from squeeze_onnx.graph.quantized.ranges import computed_values, limit_constants, returning_magnitudes
from squeeze_onnx.graph.rewrite.half_types import half_type_of, widen
from squeeze_onnx.graph.rewrite.plain_weights import plain_weight_sites
from squeeze_onnx.runtime.graph_session import open_graph
from squeeze_onnx.runtime.quantizers import convert_fp16
from squeeze_onnx.support.errors import OptionError

HEADROOM = 2.0
"""How many times as far as on the calibration data a value may go: other text will."""

LIMIT = float(np.finfo(np.float16).max) / HEADROOM

MASK = 1e4
"""Constants beyond this stand for infinity, as in attention masks; a score of −10⁴ is as impossible, and leaves room."""

NOTHING_TO_DO = "The weights are float16 already: nothing was converted."

UNCHECKED = "Without calibration data no range was checked: every node computes in float16."


@dataclass(frozen=True)
class Float16:
    """Everything in float16 but graph inputs and outputs, and nodes that read or return what float16 cannot hold."""

    name: ClassVar[str] = "fp16"
    weights_apart: ClassVar[bool] = False
    providers: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    rounds_rows: ClassVar[bool] = False
    table_step: ClassVar[int] = 1
    stored: ClassVar[StoredBytes] = StoredBytes(floats(2), floats(2))

    def encoders(self, model: ir.Model, evidence: Evidence) -> Mapping[str, Encoder]:
        """Return nothing: so many bits lose nothing that learning could make up for."""
        return {}

    def lower(self, model: ir.Model, evidence: Evidence) -> Lowered:
        """Convert ``model``, whose constants change on the way; one that is float16 already stays as it is."""
        if _is_float16(model):
            return Lowered(model, notes=(NOTHING_TO_DO,))
        if half_type_of(model) is not None:
            widen(model)  # the tool knows float32 only
        sites = plain_weight_sites(model)
        limit_constants(model, MASK)
        kept = self._kept(model, evidence)
        tool = partial(convert_fp16, keep=[site.name for site in kept])
        excluded = {site.name for site in kept}
        converted = through_files(model, tool, f"`precision` {self.name}")
        skip_narrow_casts(converted)
        return Lowered(
            converted,
            tuple(site.name for site in sites if site.name not in excluded),
            kept,
            notes=() if evidence.batches or evidence.kept is not None else (UNCHECKED,),
        )

    def _kept(self, model: ir.Model, evidence: Evidence) -> tuple[KeptSite, ...]:
        nodes = {str(node.name): node for node in model.graph}
        if evidence.kept is not None:
            for name in evidence.kept:
                if name not in nodes:
                    raise OptionError(f"the plan keeps {name!r} in float32, but the model has no such node")
            return tuple(KeptSite(name, "as the plan says") for name in evidence.kept)
        magnitudes = _magnitudes(model, evidence)
        kept = []
        for name, node in nodes.items():
            met = [str(value.name) for value in (*node.inputs, *node.outputs) if value is not None]
            largest = max((magnitudes.get(value, 0.0) for value in met), default=0.0)
            if not largest <= LIMIT:
                kept.append(KeptSite(name, f"meets {largest:.3g}, with headroom more than float16 holds"))
        return tuple(kept)


def _is_float16(model: ir.Model) -> bool:
    """Whether all products and tables, of which there are some, are those of float16."""
    types = {site.weight.dtype for site in find_sites(model).sites}
    return types == {ir.DataType.FLOAT16}


def _magnitudes(model: ir.Model, evidence: Evidence) -> dict[str, float]:
    """Return the largest |entry| of every float value of ``model`` on the calibration data, by name."""
    if not evidence.batches:
        return {}
    names = [str(value.name) for value in computed_values(model.graph)]
    with session_showing(model, names, evidence.provider) as session:
        floats = [output.name for output in session.outputs if output.type == "tensor(float)"]
    largest = np.zeros(len(floats))
    session = open_graph(returning_magnitudes(model, floats), evidence.provider)
    for batch in evidence.track(evidence.batches, "Ranges"):
        largest = np.maximum(largest, np.array(session.run(None, batch.feeds), dtype=np.float64))
    return dict(zip(floats, largest.tolist(), strict=True))
