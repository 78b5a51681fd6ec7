"""Which map and grid keep what is like what: several are made on calibration text, the likest on text that is held back is taken.

What counts is the order of pairs at all levels of likeness alike (`even_correlation`): most pairs of texts have nothing to do
with each other, and a search and a score of likeness ask about the others. Calibration text decides, never that of a dev set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from squeeze_onnx.compress.embedding_output.grids import Grid
from squeeze_onnx.data.similarity import Similarity
from squeeze_onnx.data.stored_output import OutputType, StoredOutput
from squeeze_onnx.spectral.embedding_maps import (
    EmbeddingMap,
    identity_map,
    learned_map,
    principal_map,
    random_rotation,
    sign_rotation,
)

LEVELS = 10
"""Of likeness, from that of unrelated texts to that of the likest, that count alike."""

FEW = 20
"""Pairs of one level below which it counts less."""


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is asked for: ``dimensions`` (None: all), the type, how embeddings are compared, and a ``seed`` of what is drawn.

    ``cut`` says that the model's own files cut its embeddings: their length is not 1 then where the map begins.
    """

    dimensions: int | None
    type: OutputType
    similarity: Similarity
    seed: int
    cut: bool = False

    @property
    def normalized(self) -> bool:
        """Whether embeddings are brought to length 1: the cosine does not look at lengths, the others do."""
        return self.similarity is Similarity.COSINE


@dataclass(frozen=True, eq=False)
class Chosen:
    """The map and the grid that were taken, and under the ``name`` of each that was tried how well it keeps near pairs."""

    name: str
    map: EmbeddingMap
    grid: Grid
    tried: Mapping[str, float] = field(default_factory=dict)

    def stored(self, output: str) -> StoredOutput:
        """Return how the ``output`` of this name is read."""
        features, dimensions = self.map.axes.shape
        grid = self.grid
        own_axes = self.map.changes or grid.type is OutputType.BINARY
        return StoredOutput(output, dimensions, features, grid.type, grid.scale, grid.zero_point, own_axes)

    def decoded(self, rows: np.ndarray) -> np.ndarray:
        """Return what is read of embeddings ``rows`` once they are stored, (texts, dimensions)."""
        return self.stored("").decode(self.grid.encode(self.map.apply(rows)))


def choose(fitted: np.ndarray, judged: np.ndarray, wanted: Wanted) -> Chosen:
    """Fit what may be taken to embeddings ``fitted`` and return the best on ``judged``, both (texts, features).

    Where one alone comes into question nothing is measured.
    """
    made: dict[str, Chosen] = {}
    for name, make in _makers(fitted, wanted).items():
        mapped = make()
        made[name] = Chosen(name, mapped, Grid.of(wanted.type, mapped.apply(fitted)))
    if len(made) == 1:
        return next(iter(made.values()))
    tried: dict[str, float] = {}
    for name, each in made.items():
        after = each.decoded(judged), each.decoded(fitted)
        tried[name] = even_correlation((judged, fitted), after, wanted.similarity)
    return replace(made[max(tried, key=lambda name: tried[name])], tried=tried)


def even_correlation(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], similarity: Similarity
) -> float:
    """Return the rank correlation of how like texts are, before and after, where each of `LEVELS` of likeness counts alike.

    Each is (texts, features) of new texts, which are compared with each other and with others, and of these. Levels are of equal
    width, from the median likeness on; what is less like is in the first.
    """
    expected, found = (_likeness(*each, similarity) for each in (before, after))
    low, high = float(np.median(expected)), float(expected.max())
    if high <= low:
        return 0.0
    level = np.clip((LEVELS * (expected - low) / (high - low)).astype(np.int64), 0, LEVELS - 1)
    weights = 1 / np.maximum(np.bincount(level, minlength=LEVELS), FEW)[level]
    left, right = (_ranks(each, weights) for each in (expected, found))
    left, right = (each - np.average(each, weights=weights) for each in (left, right))
    scale = float(np.sqrt((weights @ np.square(left)) * (weights @ np.square(right))))
    return float((weights * left) @ right) / scale if scale else 0.0


def _likeness(texts: np.ndarray, others: np.ndarray, similarity: Similarity) -> np.ndarray:
    among = similarity.of_all(texts, texts)[np.triu_indices(len(texts), 1)]
    return np.concatenate([among, similarity.of_all(texts, others).ravel()])


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return how much weight lies below each of ``values``; equal ones share their place."""
    order = np.argsort(values, kind="stable")
    _, group = np.unique(values[order], return_inverse=True)
    each = np.bincount(group, weights[order])
    places = np.empty(len(values))
    places[order] = (np.cumsum(each) - each / 2)[group]
    return places


def _makers(fitted: np.ndarray, wanted: Wanted) -> Mapping[str, Callable[[], EmbeddingMap]]:
    """Return what may be taken, by name."""
    features, normalized = fitted.shape[1], wanted.normalized
    dimensions = wanted.dimensions or features
    # A product without the mean is another one; after a cut lengths differ, and so would what the mean is.
    centrings = (False,) if wanted.similarity is Similarity.DOT or wanted.cut else (False, True)
    if wanted.type is OutputType.BINARY:
        return _binary(fitted, dimensions, wanted, centrings)
    if wanted.dimensions is None:
        return {"as it is": lambda: identity_map(fitted, centred=False, normalized=normalized)}

    def rotated(centred: bool) -> EmbeddingMap:
        return principal_map(fitted, dimensions, centred=centred, normalized=normalized)

    makers: dict[str, Callable[[], EmbeddingMap]] = {"rotation": lambda: rotated(False)}
    if True in centrings:
        makers["rotation without the mean"] = lambda: rotated(True)
    if normalized:
        makers["learned"] = lambda: learned_map(rotated(False), fitted)
    return makers


def _binary(
    fitted: np.ndarray, dimensions: int, wanted: Wanted, centrings: tuple[bool, ...]
) -> Mapping[str, Callable[[], EmbeddingMap]]:
    """Return maps whose signs are to be stored: signs count all dimensions alike, so these are mixed after a rotation."""
    normalized, seed = wanted.normalized, wanted.seed

    def mixed(centred: bool, learned: bool) -> EmbeddingMap:
        cut = principal_map(fitted, dimensions, centred=centred, normalized=normalized)
        return cut.then(sign_rotation(cut.apply(fitted), seed) if learned else random_rotation(dimensions, seed))

    makers: dict[str, Callable[[], EmbeddingMap]] = {}
    for centred in centrings:
        without = " without the mean" if centred else ""
        if dimensions == fitted.shape[1]:
            makers[f"signs{without}"] = lambda c=centred: identity_map(fitted, centred=c, normalized=normalized)  # type: ignore[misc]
        makers[f"signs of a rotation by chance{without}"] = lambda c=centred: mixed(c, False)  # type: ignore[misc]
        makers[f"signs of a learned rotation{without}"] = lambda c=centred: mixed(c, True)  # type: ignore[misc]
    return makers
