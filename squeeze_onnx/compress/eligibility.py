"""Which of the sites found are squeezed: the default roles, plus ``include``, minus ``exclude``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from squeeze_onnx.compress.config import DEFAULT_ROLES
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, SkippedSite
from squeeze_onnx.support.errors import OptionError


@dataclass(frozen=True)
class Eligibility:
    """The sites to squeeze, in graph order, and the others with the reason they stay."""

    sites: tuple[MatMulSite, ...]
    left_out: tuple[SkippedSite, ...]


def choose_eligible(
    sites: Sequence[MatMulSite],
    include: Collection[str] = (),
    exclude: Collection[str] = (),
    only: Collection[Role] = (),
) -> Eligibility:
    """Split ``sites`` by role and name.

    ``include`` holds roles, ``exclude`` roles or site names; ``only``, when not empty, narrows the default roles.
    Raises OptionError when an ``exclude`` is neither a role nor the name of a site.
    """
    names = {site.name for site in sites}
    for word in exclude:
        if word not in names and word not in set(Role):
            raise OptionError(
                f"`exclude` {word}: neither a role ({', '.join(Role)}) nor the name of a site; `analyze` lists the names"
            )
    roles = (DEFAULT_ROLES & frozenset(only) if only else DEFAULT_ROLES) | {Role(word) for word in include}
    eligible, left_out = [], []
    for site in sites:
        reason = _reason_to_stay(site, roles, exclude)
        if reason is None:
            eligible.append(site)
        else:
            left_out.append(SkippedSite(site.name, reason))
    return Eligibility(tuple(eligible), tuple(left_out))


def refuse_vain_include(include: Collection[str], sites: Sequence[MatMulSite], chosen: Eligibility, path: Path) -> None:
    """Raise OptionError if no role of ``include`` takes in a site of the model at ``path``, where ``sites`` were found.

    Of several roles one is enough: together they say "whatever there is".
    """
    if not include or any(site.role in include for site in chosen.sites):
        return
    asked = f"`include` {' and '.join(include)}"
    why = {site.name: site.reason for site in chosen.left_out}
    present = [site for site in sites if site.role in include]
    if present:
        raise OptionError(f"{asked} takes in nothing of {path}; {present[0].name}: {why[present[0].name]}")
    roles = ", ".join(dict.fromkeys(str(site.role) for site in sites)) or "none at all"
    raise OptionError(f"{asked}: {path} has no such weight that could be replaced; it has {roles}")


def is_excluded(site: MatMulSite, exclude: Collection[str]) -> bool:
    """Say whether ``site`` is left out by its name or its role."""
    return site.name in exclude or site.role in exclude


def _reason_to_stay(site: MatMulSite, roles: Collection[Role], exclude: Collection[str]) -> str | None:
    if site.name in exclude:
        return "excluded by name"
    if site.role in exclude:
        return f"role {site.role} is excluded"
    if site.role not in roles:
        return f"role {site.role} is not eligible here; `include` {site.role} takes it in"
    if site.break_even_rank < 1:
        return f"a {site.in_features} × {site.out_features} weight is too small: even rank 1 holds more parameters"
    return None
