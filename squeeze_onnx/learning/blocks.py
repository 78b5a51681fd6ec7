"""A layer of the squeezed model, alone: it reads what the layers before it really leave, and learns what the dense one has there.

A step through one layer costs that layer and no more, and its loss is near: no gradient has to find its way through the rest.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.segments import Segment, ancestors, cut, initializers_of
from squeeze_onnx.learning.array_files import ArrayFiles
from squeeze_onnx.learning.losses import HiddenStateError, LossGraph, attach_losses
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.learning.teacher import TaughtBatches
from squeeze_onnx.runtime.part_run import PartRun, Values, alone, only


@dataclass(frozen=True)
class LayerBlock:
    """One ``part`` of the student, which ends with the residual stream ``output`` after ``layer``.

    parameters: what learns in it: used here and nowhere else, so that no other block changes with it.
    """

    layer: int
    part: Segment
    output: str
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class BlockSearch:
    """The blocks in the order in which they run; ``reason`` is a sentence if there are none."""

    blocks: tuple[LayerBlock, ...]
    reason: str | None = None


def find_blocks(student: ir.Model, states: Sequence[str]) -> BlockSearch:
    """Cut ``student`` where a layer ends: at the last of ``states``, the residual stream in graph order, that it adds to.

    A cut is made only where a single value that learned weights have a part in goes on to later layers; what depends on none, an
    attention mask say, may go on too. Layers between which there is no such place are one block.
    """
    ends = _ends(student, states)
    parts = cut(student.graph, _goals(ends))
    single = [_is_single(student, part, end) for part, end in zip(parts, ends.values(), strict=True)]
    ends = {layer: end for (layer, end), alone in zip(ends.items(), single, strict=True) if alone}
    if len(ends) < 2:
        return BlockSearch((), "its layers cannot be told apart: no single value leads from one to the next")
    parts, own = cut(student.graph, _goals(ends)), _read_in_one_part(student.graph, _goals(ends))
    blocks = []
    for (layer, end), part, names in zip(ends.items(), parts, own, strict=True):
        parameters = tuple(name for name in learnable_parameters(student, [end]) if name in names)
        blocks.append(LayerBlock(layer, part, end, parameters))
    if not any(block.parameters for block in blocks):
        return BlockSearch((), "no float32 weight belongs to one layer alone")
    return BlockSearch(tuple(blocks))


def _goals(ends: Mapping[int, str]) -> list[list[str]]:
    """Return what the parts of a graph that is cut at ``ends`` are to compute."""
    return [[end] for end in ends.values()]


def _read_in_one_part(graph: ir.Graph, goals: Sequence[Sequence[str]]) -> list[frozenset[str]]:
    """Return by part the initializers that it reads and no other part does, nor what comes after the last one."""
    outputs = [str(value.name) for value in graph.outputs]
    read = [initializers_of(graph, part) for part in cut(graph, [*goals, outputs])]
    readers = Counter(name for names in read for name in names)
    return [frozenset(name for name in names if readers[name] == 1) for names in read[:-1]]


def _ends(student: ir.Model, states: Sequence[str]) -> dict[int, str]:
    """Return the last of ``states`` that depends on the weights of a layer, but on none of a later one."""
    named = ir.convenience.create_value_mapping(student.graph, include_subgraphs=False)
    sites = [(site.layer, site.nodes) for site in find_sites(student).sites if site.layer is not None]
    ends = {}
    for state in states:
        before = ancestors(named[state])
        reached = [layer for layer, nodes in sites if not before.isdisjoint(nodes)]
        if reached:
            ends[max(reached)] = state
    return ends


def _is_single(student: ir.Model, part: Segment, end: str) -> bool:
    """Whether ``end`` is all that later parts read of what was learned so far."""
    inputs = {str(value.name) for value in student.graph.inputs}
    others = [name for name in part.kept if name not in inputs and name != end]
    return not any(learnable_parameters(student, [name]) for name in others)


class Prefix:
    """The student as far as some block: what it leaves of each batch for that block lies on disk."""

    def __init__(
        self,
        student: ir.Model,
        blocks: Sequence[LayerBlock],
        batches: Sequence[CalibrationBatch],
        folder: Path,
        *,
        provider: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._student, self._blocks, self._batches = student, blocks, batches
        self._folder, self._provider, self._threads = folder, provider, threads
        self._files = ArrayFiles(folder)
        self._place = 0

    def advance_to(self, place: int) -> None:
        """Run the blocks up to the one at ``place``, with the weights that they have now."""
        for block in self._blocks[self._place : place]:
            part = block.part
            needed = {*part.inputs, *part.kept}.difference(part.outputs)
            path = self._folder / "block.onnx"
            run = PartRun(self._student, part, self.read(0, needed), path, self._provider, threads=self._threads)
            for index in range(len(self._batches)):
                self._files.write(index, only(part.kept, run(self.read(index, needed))))
            self._place += 1

    def read(self, index: int, names: Collection[str]) -> Values:
        """Return ``names`` among the values of a batch that are there, or go on, where `advance_to` led."""
        if self._place == 0:
            return only(names, self._batches[index].feeds)
        return self._files.read(index, names)


class BlockFeeds:
    """What the student so far leaves for a block, and what the teacher has at its end."""

    def __init__(self, prefix: Prefix, block: LayerBlock, graph: LossGraph, taught: TaughtBatches) -> None:
        self._prefix, self._block, self._graph, self._taught = prefix, block, graph, taught

    def feeds(self, index: int) -> dict[str, np.ndarray]:
        """Return all inputs of the loss graph for one batch."""
        return {**self._prefix.read(index, self._block.part.inputs), **self._taught.taught(index, self._graph)}


def block_graph(student: ir.Model, block: LayerBlock, example: Values) -> LossGraph:
    """Return ``block`` alone, with the weights that it has now and the error of its output; ``example`` is what it reads."""
    return attach_losses(alone(student, block.part, example), [HiddenStateError(block.output)])
