"""How much stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from squeeze_onnx.compress.presets import PRESETS
from squeeze_onnx.compress.settings.base import Part, one_of
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.readable import bytes_of

AboveBreakEven = Literal["leave", "denoise"]

ALL_ROLES = "all"
"""The key of the floor for every role that has none of its own."""

Objectives = Literal["parameters", "size", "latency"]

DEFAULT_OBJECTIVE: Objectives = "parameters"

Effort = Literal["quick", "balanced", "best"]

DEFAULT_KEEP = 0.75
"""What stays when a method needs a budget and none is given."""


@made_by_name
@dataclass(frozen=True)
class Budget(Part):
    """What ranks are chosen by.

    keep: fraction that stays of what ``objective`` counts; None for 0.75 where the method needs a budget.
    floor: least fraction of each weight's own parameters, by role, or under ``all`` for roles that have none of their own.
    preset: a regime of the SQUEEZE paper instead of a budget: paper-ffn or paper-size.
    rank_rule: cuts each weight on its own instead of by a budget (`squeeze_onnx.compress.selectors.SELECTORS`).
    above_break_even: what becomes of a site whose rank is too high for factors to pay: leave it, or write it back as one dense
        matrix of that rank (denoise).
    objective: what ``keep`` is a fraction of: parameters of eligible weights, or of the whole model its size or latency.
    batch_size: sequences that latency is measured on.
    sequence_length: tokens of each of them.
    max_size: bytes that model.onnx may have, or 10MB, instead of ``keep``: the best model that fits, in whatever ``precision``
        does least damage then unless one is given.
    keep_cache: fraction that stays at most of what a decoder's cache of keys and values takes for a token; None for as much as
        the budget has it.
    effort: quick, balanced or best: how much text and learning a goal is worth (`squeeze_onnx.compress.efforts`); None for
        balanced with ``max_size``, and for nothing that is not said without.
    """

    keep: float | None = None
    floor: Mapping[str, float] = field(default_factory=dict)
    preset: str | None = None
    rank_rule: str | None = None
    above_break_even: AboveBreakEven = "leave"
    objective: Objectives = DEFAULT_OBJECTIVE
    batch_size: int = 1
    sequence_length: int = 128
    max_size: int | str | None = None
    keep_cache: float | None = None
    effort: Effort | None = None

    def check(self) -> None:
        """Raise OptionError for what is out of range, and for two budgets."""
        one_of("above_break_even", self.above_break_even, get_args(AboveBreakEven))
        if self.keep is not None and not 0 < self.keep <= 1:
            raise OptionError(f"`keep` is a float above 0 and up to 1; got {self.keep}")
        if self.keep_cache is not None and not 0 < self.keep_cache < 1:
            raise OptionError(f"`keep_cache` is a float between 0 and 1; got {self.keep_cache}")
        for role, share in self.floor.items():
            one_of("floor", role, [ALL_ROLES, *map(str, Role)])
            if not 0 <= share <= 1:
                raise OptionError(f"`floor` is a float from 0 to 1, alone or as ROLE=F; got {share} for {role}")
        one_of("objective", self.objective, get_args(Objectives))
        for setting, value in (("batch_size", self.batch_size), ("sequence_length", self.sequence_length)):
            if value < 1:
                raise OptionError(f"`{setting}` is a positive integer; got {value}")
        if self.preset is not None:
            one_of("preset", self.preset, PRESETS)
            if self.keep is not None:
                raise OptionError(f"`preset` {self.preset} sets its own budget; leave out `keep`")
        for setting, given in (("keep", self.keep), ("preset", self.preset), ("floor", self.floor)):
            if self.rank_rule is not None and given:
                raise OptionError(f"`rank_rule` {self.rank_rule} cuts each weight on its own; leave out `{setting}`")
        if self.effort is not None:
            one_of("effort", self.effort, get_args(Effort))
        if self.max_size is not None:
            self._check_size(self.max_size)

    def _check_size(self, size: int | str) -> None:
        object.__setattr__(self, "max_size", bytes_of(size, "max_size"))
        for setting, given in (("keep", self.keep), ("preset", self.preset), ("rank_rule", self.rank_rule)):
            if given is not None:
                raise OptionError(f"`max_size` is a budget by itself; leave out `{setting}`")
        if self.objective != DEFAULT_OBJECTIVE:
            raise OptionError(f"`max_size` is a budget of bytes; leave out `objective` {self.objective}")

    @property
    def byte_limit(self) -> int | None:
        """Bytes that the written model may have; None for as many as it takes."""
        assert not isinstance(self.max_size, str), "read when it was checked"
        return self.max_size
