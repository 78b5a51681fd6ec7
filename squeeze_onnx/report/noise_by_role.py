"""What the estimates of the noise level σ say of the weights of each role, from the JSON of `analyze`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOISE_NOTE = (
    "entries: the spread of all entries of the standardized weight, 1 at most; median: the median singular value over that of "
    "noise; bulk: the best fit of the Marchenko–Pastur law to the singular values. Where the three agree the bulk is noise."
)


@dataclass(frozen=True)
class RoleNoise:
    """The weights of one ``role``: how many, and by the name of each estimate the ranges of σ and of the signal rank."""

    role: str
    sites: int
    sigma: Mapping[str, str]
    signal: Mapping[str, str]


def noise_by_role(report: Mapping[str, Any]) -> list[RoleNoise]:
    """Return an entry a role, in the order that they have in the model."""
    spectra: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for site in report["sites"]:
        spectra[site["role"]].append(site["spectrum"]["by_noise_estimator"])
    return [
        RoleNoise(
            role,
            len(found),
            {name: span([each[name]["noise_sigma"] for each in found], ".3f") for name in found[0]},
            {name: span([each[name]["signal_rank"] for each in found], "d") for name in found[0]},
        )
        for role, found in spectra.items()
    ]


def span(values: Sequence[float], form: str) -> str:
    """Return the least and the largest of ``values``, once if they look the same."""
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return low if low == high else f"{low}–{high}"
