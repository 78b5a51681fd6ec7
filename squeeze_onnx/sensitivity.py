"""How much each site matters: truncate it alone, run the model, and see how far its outputs move.

No gradient and no label is needed. A site's damage D at its probe rank, over the relative squared error e of its own output
there, is its sensitivity: to second order the damage of any other rank is sensitivity · e(rank), and damages add up.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from squeeze_onnx.allocators import Uniform
from squeeze_onnx.calibration import CalibrationBatch
from squeeze_onnx.decompositions import Exact
from squeeze_onnx.factoring import truncate
from squeeze_onnx.graph.model import save_model
from squeeze_onnx.graph.perturbation import PerturbableModel, perturbable
from squeeze_onnx.methods import WeightingOf
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.runtime.sessions import Session, open_session
from squeeze_onnx.spectra import SiteSpectra, read_weight

PROBE_TOKENS = 1024
"""About how many tokens of calibration data each probe runs on."""

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
        yield Prober(open_session(path, provider), opened, _probe_batches(batches))


class Prober:
    """The perturbable model, open, with its undisturbed outputs."""

    def __init__(self, session: Session, opened: PerturbableModel, batches: Sequence[CalibrationBatch]) -> None:
        self._session = session
        self._opened = opened
        self._batches = batches
        self._still = {
            opened.inputs[site]: np.zeros((1, 1), dtype=dtype.numpy()) for site, dtype in opened.dtypes.items()
        }
        self._reference = self._outputs({})
        self._variance = [float(np.square(rows - rows.mean(axis=0)).sum()) for rows in self._reference]

    def damage(self, site: str, change: np.ndarray) -> float:
        """Return the squared distance the outputs move, over their variance, if ``change`` (in, out) is added to the weight."""
        moved = self._outputs({self._opened.inputs[site]: change.astype(self._opened.dtypes[site].numpy())})
        return float(
            np.mean(
                [
                    np.square(rows - reference).sum() / variance
                    for rows, reference, variance in zip(moved, self._reference, self._variance, strict=True)
                    if variance > 0
                ]
            )
        )

    def _outputs(self, changes: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run all batches; each floating-point output as rows (sequences, features)."""
        runs = [
            [_rows(output, batch.mask) for output in self._session.run(None, {**batch.feeds, **self._still, **changes})]
            for batch in self._batches
        ]
        return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def _rows(output: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return ``output`` with a row a sequence; what runs over tokens is averaged over those that are text."""
    values = output.astype(np.float64)
    if mask is not None and values.ndim == 3 and values.shape[:2] == mask.shape:
        pooled: np.ndarray = np.einsum("stf,st->sf", values, mask.astype(np.float64)) / mask.sum(axis=1, keepdims=True)
        return pooled
    return values.reshape(len(values), -1)


def _probe_batches(batches: Sequence[CalibrationBatch]) -> list[CalibrationBatch]:
    """Take batches of the median length until they hold `PROBE_TOKENS` tokens: the shortest and longest are not typical."""
    chosen: list[CalibrationBatch] = []
    tokens = 0
    middle = len(batches) // 2
    for index in sorted(range(len(batches)), key=lambda index: abs(index - middle)):
        if tokens >= PROBE_TOKENS:
            break
        chosen.append(batches[index])
        tokens += max(array.size for array in batches[index].feeds.values())
    return chosen
