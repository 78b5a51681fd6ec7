"""How much each site matters: truncate it alone, run the model, and see how far its outputs move.

No gradient and no label is needed. A site's damage D at its probe rank, over the relative squared error e of its own output
there, is its sensitivity: to second order the damage of any other rank is sensitivity · e(rank), and damages add up.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from squeeze_onnx.allocators import Uniform
from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.damage import DamageMeter, probe_batches
from squeeze_onnx.decompositions import Exact
from squeeze_onnx.factoring import truncate
from squeeze_onnx.graph.model import save_model
from squeeze_onnx.graph.perturbation import PerturbableModel, perturbable
from squeeze_onnx.methods import WeightingOf
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.runtime.sessions import Session, open_session
from squeeze_onnx.spectra import SiteSpectra
from squeeze_onnx.weights import read_weight

PROBE_KEEP = 0.5
"""The fraction of its parameters that a probed site keeps."""


def probe_sensitivities(
    prober: "Prober",
    spectra: Sequence[SiteSpectra],
    weighting_of: WeightingOf,
    probe: Uniform,
    track: Track = silent,
) -> tuple[SiteSpectra, ...]:
    """Return ``spectra`` with the sensitivity of each candidate measured at the rank that ``probe`` gives it.

    A site that loses nothing at its probe rank has sensitivity 0: it can be cut there for free.
    """
    ranks = probe.allocate([measured.candidate for measured in spectra])

    def sensitivity(measured: SiteSpectra) -> float:
        site, candidate = measured.site, measured.candidate
        weight = read_weight(site)
        rank = max(ranks[site.name].rank + candidate.extra_rank, 1)
        factors, errors = truncate(weight, rank, weighting_of(site), Exact())
        error = errors.weighted_error**2
        return prober.damage(site.name, factors.product() - weight) / error if error > 0 else 0.0

    return tuple(
        replace(measured, candidate=replace(measured.candidate, sensitivity=sensitivity(measured)))
        for measured in track(spectra, "Sensitivity")
    )


@contextmanager
def open_prober(model: ir.Model, batches: Sequence[CalibrationBatch], provider: str = "cpu") -> Iterator["Prober"]:
    """Open a copy of ``model`` to disturb; a few of ``batches`` are enough."""
    opened = perturbable(model)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "perturbable.onnx"
        save_model(opened.model, path)
        yield Prober(open_session(path, provider), opened, probe_batches(batches))


class Prober:
    """The perturbable model, open, with its undisturbed outputs."""

    def __init__(self, session: Session, opened: PerturbableModel, batches: Sequence[CalibrationBatch]) -> None:
        self._opened = opened
        still = {opened.inputs[site]: np.zeros((1, 1), dtype=dtype.numpy()) for site, dtype in opened.dtypes.items()}
        self._meter = DamageMeter(session, batches, still)

    def damage(self, site: str, change: np.ndarray) -> float:
        """Return the damage (see `DamageMeter`) if ``change`` (in, out) is added to the weight of ``site``."""
        return self._meter.damage({self._opened.inputs[site]: change.astype(self._opened.dtypes[site].numpy())})
