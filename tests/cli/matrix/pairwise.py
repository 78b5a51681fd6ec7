"""Few rows of options in which every pair of levels that may stand together does so: a greedy cover, the same each time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

Factors = Mapping[str, Sequence[str]]
Row = dict[str, str]
Pair = tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Forbidden:
    """Levels, by factor, of which no row may have one of each; ``told`` is what the program says of them."""

    levels: Mapping[str, frozenset[str]]
    told: str

    def breaks(self, row: Mapping[str, str]) -> bool:
        """Whether ``row``, which may be a part of one, has one of each."""
        return all(row.get(factor) in levels for factor, levels in self.levels.items())


def pairwise(factors: Factors, forbidden: Sequence[Forbidden] = ()) -> list[Row]:
    """Return rows with one level of each factor that cover every pair of levels which the ``forbidden`` ones allow."""
    rows: list[Row] = []
    missing = {pair: None for pair in pairs(factors) if _completed(dict(pair), factors, forbidden) is not None}
    while missing:
        row = _widest(dict(next(iter(missing))), factors, forbidden, missing)
        rows.append(row)
        for pair in _pairs_in(row):
            missing.pop(pair, None)
    return rows


def pairs(factors: Factors) -> Iterator[Pair]:
    """Yield every pair of levels of two factors, in the order of the factors."""
    for first, second in combinations(factors, 2):
        yield from (((first, a), (second, b)) for a, b in product(factors[first], factors[second]))


def _pairs_in(row: Row) -> list[Pair]:
    return list(combinations(row.items(), 2))


def _widest(start: Row, factors: Factors, forbidden: Sequence[Forbidden], missing: Mapping[Pair, None]) -> Row:
    """Complete ``start``, factor by factor, with the level that covers most pairs which are ``missing``."""
    row = dict(start)
    for factor, levels in factors.items():
        if factor in row:
            continue
        order = sorted(levels, key=lambda level: -_gain(row, factor, level, factors, missing))
        row[factor] = next(level for level in order if _completed({**row, factor: level}, factors, forbidden))
    return {factor: row[factor] for factor in factors}


def _gain(row: Row, factor: str, level: str, factors: Factors, missing: Mapping[Pair, None]) -> int:
    position = list(factors)
    gained = 0
    for other, chosen in row.items():
        here, there = (factor, level), (other, chosen)
        pair = (here, there) if position.index(factor) < position.index(other) else (there, here)
        gained += pair in missing
    return gained


def completed(part: Mapping[str, str], factors: Factors, forbidden: Sequence[Forbidden]) -> Row:
    """Return ``part`` with the first level of every other factor that lets nothing forbidden be in the row.

    Raises ValueError if every one does.
    """
    row = _completed(dict(part), factors, forbidden)
    if row is None:
        raise ValueError(f"no row has {dict(part)}")
    return row


def _completed(part: Row, factors: Factors, forbidden: Sequence[Forbidden]) -> Row | None:
    if any(each.breaks(part) for each in forbidden):
        return None
    left = next((factor for factor in factors if factor not in part), None)
    if left is None:
        return part
    tries = (_completed({**part, left: level}, factors, forbidden) for level in factors[left])
    return next((row for row in tries if row is not None), None)
