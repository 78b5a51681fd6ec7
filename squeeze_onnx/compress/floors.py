"""Floors: the least share of its parameters that each weight keeps, by role."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from squeeze_onnx.compress.config import ALL_ROLES
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.support.errors import OptionError


def with_floors(spectra: Sequence[SiteSpectra], floors: Mapping[str, float]) -> tuple[SiteSpectra, ...]:
    """Return ``spectra`` with the floor of its role on every candidate.

    Raises OptionError for the floor of a role that none of them has: it would change nothing.
    """
    roles = {measured.site.role for measured in spectra}
    for role in floors:
        if role != ALL_ROLES and role not in roles:
            raise OptionError(
                f"--floor {role}={floors[role]}: no eligible weight has this role, only {', '.join(sorted(roles))}"
            )
    return tuple(
        replace(measured, candidate=replace(measured.candidate, floor=_floor_of(measured.site.role, floors)))
        for measured in spectra
    )


def _floor_of(role: Role, floors: Mapping[str, float]) -> float:
    return floors.get(role, floors.get(ALL_ROLES, 0.0))
