"""How far a measured value may drift before `tools.recheck` calls it one, and why.

The same code with the same seed gives slightly different numbers on another processor: kernels of matrix products add up in
another order, and a plan may then take one rank more here and one less there. A tolerance is a few times that, and well
below what a row is quoted for.
"""

from collections.abc import Mapping
from typing import Any

from tools.rows import Tolerance

CORRELATIONS = frozenset({"spearman", "pearson"})
POINTS = Tolerance(
    absolute=0.003, why="0.3 points: ten times what another processor changes, a third of what a gate asks for"
)
LEARNED = Tolerance(absolute=0.005, why="0.5 points: hundreds of steps carry rounding on")
DENSE = Tolerance(absolute=0.0005, why="the dense model is the same: rounding only")
BYTES = Tolerance(relative=0.01, why="1 %: a plan may take a rank more or less")
MOVEMENT = Tolerance(relative=0.05, why="5 % of a mean over 512 texts")
LEARNED_MOVEMENT = Tolerance(relative=0.1, why="10 % of a mean over 512 texts: hundreds of steps carry rounding on")
EXACT = Tolerance(why="counted")


def of_score(metric: str, rows: int, *, learned: bool = False) -> dict[str, Tolerance]:
    """Return what ``baseline`` and ``candidate`` of a metric over so many ``rows`` may drift by.

    An accuracy moves in steps of a row, and rows whose classes are nearly even go either way.
    """
    if metric in CORRELATIONS:
        return {"baseline": DENSE, "candidate": LEARNED if learned else POINTS}
    flips = 6 if learned else 3
    step = (2.5 if metric == "matthews" else 1.0) / rows
    why = f"{flips} of {rows} rows"
    return {
        "baseline": Tolerance(absolute=1.01 * step, why=f"1 of {rows} rows"),
        "candidate": Tolerance(absolute=max(POINTS.absolute, flips * step), why=f"0.3 points, or {why}"),
    }


def of_answers(values: Mapping[str, Any], rows: int, *, learned: bool = False) -> dict[str, Tolerance]:
    """Return the tolerances of a score with what `validate` says of the answers: cosine, and the same predictions."""
    found = of_score(values["metric"], rows, learned=learned)
    found["cosine_similarity"] = of_cosine(values["cosine_similarity"], learned=learned)
    if values.get("agreement") is not None:
        share = 0.02 if learned else 0.01
        found["agreement"] = Tolerance(absolute=share, why=f"{100 * share:.0f} % of the predictions")
    return found


def of_cosine(cosine: float, *, learned: bool = False) -> Tolerance:
    """Return how far the ``cosine`` to the dense outputs may drift: the further it is from 1, the more another rank moves it."""
    least = 0.01 if learned else 0.005
    why = f"{least} of cosine, or a twentieth of what it is below 1"
    if learned:
        why += ": hundreds of steps carry rounding on"
    return Tolerance(absolute=max(least, (1 - cosine) / 20), why=why)
