"""Whether there is enough text for what is estimated on it: a weight of n inputs is weighed by an n × n second moment.

Of fewer tokens than inputs that matrix has no full rank: whole directions count for nothing only because nothing was read there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.spectral.moments import Moments, SecondMoment
from squeeze_onnx.support.errors import DataError

FLOOR = 1 / 16
"""Tokens for each input of a weight below which its second moment says next to nothing."""


@dataclass(frozen=True)
class Thinnest:
    """The weight of fewest tokens for each of its inputs."""

    name: str
    tokens: int
    inputs: int


def thinnest(sites: Sequence[MatMulSite], moments: Mapping[str, Moments]) -> Thinnest | None:
    """Return the site that has met fewest tokens for its inputs; None if none is weighed by a second moment."""
    met = [
        Thinnest(site.name, moment.tokens, site.in_features)
        for site in sites
        if isinstance(moment := moments.get(site.name), SecondMoment)
    ]
    return min(met, key=lambda each: each.tokens / each.inputs, default=None)


def refuse_too_little(sites: Sequence[MatMulSite], moments: Mapping[str, Moments]) -> None:
    """Raise DataError where a weight has met fewer tokens than `FLOOR` of its inputs."""
    worst = thinnest(sites, moments)
    if worst is not None and worst.tokens < FLOOR * worst.inputs:
        raise DataError(
            f"the calibration text is too little: {worst.name} has {worst.inputs} inputs and met {worst.tokens} tokens; give at "
            f"least {round(FLOOR * worst.inputs)}, better {worst.inputs} and more with `calibration`, or take `method` svd, "
            "which reads none"
        )


def short_of_text(sites: Sequence[MatMulSite], moments: Mapping[str, Moments]) -> str | None:
    """Say that a weight has met fewer tokens than it has inputs; None if every one has met as many."""
    worst = thinnest(sites, moments)
    if worst is None or worst.tokens >= worst.inputs:
        return None
    return (
        f"Little text: {worst.name} has {worst.inputs} inputs and met {worst.tokens} tokens, so what it does to other text is "
        "guessed; give more with `calibration`."
    )
