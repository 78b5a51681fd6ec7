"""The neurons of feed-forward blocks: measured for the allocator, and taken out as the plan says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from squeeze_onnx.allocators import Slicing
from squeeze_onnx.decompositions import singular_values
from squeeze_onnx.errors import OptionError
from squeeze_onnx.factoring import TruncationErrors, replacement_errors
from squeeze_onnx.graph.feed_forward import FeedForward, find_feed_forwards
from squeeze_onnx.graph.outlets import find_bias
from squeeze_onnx.graph.rewrite import Rewriter
from squeeze_onnx.graph.sites import MatMulSite
from squeeze_onnx.moments import Moments, SecondMoment
from squeeze_onnx.plan import PlannedSite
from squeeze_onnx.progress import Track, silent
from squeeze_onnx.slicing import Elimination, compensate, eliminate
from squeeze_onnx.spectra import SiteSpectra, read_weight


@dataclass(frozen=True)
class Neurons:
    """The neurons that one site reads: their second moment, and the order in which they can go."""

    moment: SecondMoment
    elimination: Elimination


def measure_neurons(
    sites: Sequence[MatMulSite], moments: Mapping[str, Moments], track: Track = silent
) -> dict[str, Neurons]:
    """Measure every block among ``sites``, by the name of the site that reads the neurons.

    Blocks with a quantized weight are left out: what is left of it would be float, and larger.
    """
    found: dict[str, Neurons] = {}
    blocks = [block for block in find_feed_forwards(sites) if not any(site.weight.decoding for site in block.sites)]
    for block in track(blocks, "Neurons"):
        moment = moments[block.after.name]
        assert isinstance(moment, SecondMoment), "only a lookup has no second moment"
        found[block.after.name] = Neurons(moment, eliminate(_seen(block, moment), read_weight(block.after)))
    return found


def slicings_of(spectra: Sequence[SiteSpectra], neurons: Mapping[str, Neurons]) -> tuple[Slicing, ...]:
    """Return the blocks of ``neurons`` as an allocator sees them, next to the whitened ``spectra`` of their sites."""
    measured = {each.site.name: each for each in spectra}

    def slicing(block: FeedForward) -> Slicing:
        elimination = neurons[block.after.name].elimination
        candidate = measured[block.after.name].candidate
        energy = float(np.square(candidate.spectrum.singular_values).sum())
        return Slicing(
            tuple((site.name, site.in_features) for site in block.before),
            (block.after.name, block.after.out_features),
            elimination.sizes,
            candidate.sensitivity * elimination.errors / energy if energy > 0 else 0 * elimination.errors,
        )

    blocks = find_feed_forwards([each.site for each in spectra])
    return tuple(slicing(block) for block in blocks if block.after.name in neurons)


def slice_sites(
    model: ir.Model,
    sites: Sequence[MatMulSite],
    plan: Sequence[PlannedSite],
    neurons: Mapping[str, Neurons],
    *,
    shift_biases: bool,
) -> dict[str, TruncationErrors]:
    """Take out the neurons that ``plan`` (one entry per site, same order) does not keep; ``model`` changes in place.

    With ``shift_biases`` the mean of what they did goes to the bias behind them, where there is one. Returns the errors by
    name; ``sites`` that were sliced are out of date then. Raises OptionError if the plan slices what is no block.
    """
    errors: dict[str, TruncationErrors] = {}
    rewriter = Rewriter(model)
    for block, size in _planned_blocks(sites, plan):
        measured = neurons[block.after.name]
        kept = measured.elimination.kept(size)
        weight = read_weight(block.after)
        after = compensate(_seen(block, measured.moment), weight, kept)
        whole = np.zeros_like(weight)
        whole[kept] = after
        errors |= {site.name: _errors_before(read_weight(site), kept) for site in block.before}
        errors[block.after.name] = _errors_after(weight, whole, _seen(block, measured.moment))
        bias = find_bias(block.after)
        rewriter.slice(block, kept, after)
        if shift_biases and bias is not None:
            rewriter.shift_bias(block.after, bias, measured.moment.mean @ (weight - whole))
    return errors


def _errors_before(weight: np.ndarray, kept: np.ndarray) -> TruncationErrors:
    """What is lost with the columns that go; what the neurons are worth is counted where they are read."""
    sliced = np.zeros_like(weight)
    sliced[:, kept] = weight[:, kept]
    lost, total = (float(np.square(matrix).sum()) for matrix in (weight - sliced, weight))
    return replacement_errors(weight, sliced, lost, total, singular_values(weight[:, kept]))


def _errors_after(weight: np.ndarray, sliced: np.ndarray, moment: np.ndarray) -> TruncationErrors:
    """What the output of the block loses."""
    lost, total = (float(np.vdot(matrix, moment @ matrix)) for matrix in (weight - sliced, weight))
    return replacement_errors(weight, sliced, lost, total, singular_values(sliced))


def _planned_blocks(sites: Sequence[MatMulSite], plan: Sequence[PlannedSite]) -> Iterator[tuple[FeedForward, int]]:
    """Yield the blocks that lose neurons, and how many stay."""
    kept_shapes = {planned.name: planned.kept_shape for planned in plan if planned.kept_shape is not None}
    for block in find_feed_forwards(sites):
        asked = {site.name: kept_shapes.pop(site.name, (site.in_features, site.out_features)) for site in block.sites}
        size = asked[block.after.name][0]
        expected = {site.name: (site.in_features, size) for site in block.before}
        expected[block.after.name] = (size, block.after.out_features)
        for name, shape in expected.items():
            if asked[name] != shape:
                others = ", ".join(other for other in expected if other != name)
                raise OptionError(
                    f'the plan gives site {name} the "kept_shape" {list(asked[name])}; with that of {others} it has to be '
                    f"{list(shape)}"
                )
        if size < block.neurons:
            yield block, size
    if kept_shapes:
        raise OptionError(
            f'the plan has a "kept_shape" for site {next(iter(kept_shapes))}, which is in no feed-forward block'
        )


def _seen(block: FeedForward, moment: SecondMoment) -> np.ndarray:
    """Return the moment that counts: about the mean if a bias can take up what the means did."""
    return moment.gram / max(moment.tokens, 1) if find_bias(block.after) is None else moment.covariance
