"""Limits that a configuration sets on ranks: the least share that each weight keeps, and the grid of a precision."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from squeeze_onnx.compress.config import ALL_ROLES, OptimizeConfig
from squeeze_onnx.compress.precision import PRECISIONS, rounds_weights
from squeeze_onnx.compress.spectra import SiteSpectra
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.quantized.few_bits import is_lookup
from squeeze_onnx.support.errors import OptionError


def with_limits(spectra: Sequence[SiteSpectra], config: OptimizeConfig) -> tuple[SiteSpectra, ...]:
    """Return ``spectra`` with the floor of its role on every candidate; tables are marked, with the step that their ranks go in.

    Factors that a precision rounds take a byte an entry. One that stores rows of tables in blocks stores factors as floats whose
    rank is no whole number of blocks.

    Raises OptionError for the floor of a role that none of them has: it would change nothing.
    """
    floors = config.floor
    roles = {measured.site.role for measured in spectra}
    for role in floors:
        if role != ALL_ROLES and role not in roles:
            raise OptionError(
                f"`floor` {role}={floors[role]}: no eligible weight has this role, only {', '.join(sorted(roles))}"
            )
    step = PRECISIONS[config.precision or "fp32"].table_step
    return tuple(
        replace(
            measured,
            candidate=replace(
                measured.candidate,
                floor=_floor_of(measured.site.role, floors),
                rank_step=step if is_lookup(measured.site) else 1,
                rounded=rounds_weights(config.precision),
                is_table=is_lookup(measured.site),
            ),
        )
        for measured in spectra
    )


def _floor_of(role: Role, floors: Mapping[str, float]) -> float:
    return floors.get(role, floors.get(ALL_ROLES, 0.0))
