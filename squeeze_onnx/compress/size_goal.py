"""The best model of at most so many bytes: which precision, and what of the weights, does least damage within them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from squeeze_onnx.compress.allocators import BudgetError, GlobalBudget, Objective
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.drafts import Draft, draft_dense, draft_plan
from squeeze_onnx.compress.efforts import EFFORTS, SLOW_ON, effort_of
from squeeze_onnx.compress.forecast import allocator_for, candidates_of
from squeeze_onnx.compress.plan import PlannedPrecision
from squeeze_onnx.compress.precision import PRECISIONS
from squeeze_onnx.compress.squeezing import plan_for
from squeeze_onnx.compress.survey import Survey
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.readable import readable_bytes

_FITTINGS = 10
"""How often a plan is written to see what it comes to: nodes and names are not in what a weight costs."""

_NEAR = 0.001
"""Of a size: what a plan may leave of it."""


@dataclass(frozen=True)
class PrecisionForm:
    """A way to get down to a size: the ``damage`` that is predicted of the cut to it, and of rounding; None if it is not reached.

    ``least`` are the fewest bytes that can be had so.
    """

    precision: str
    cut: float | None
    rounding: float | None
    least: int

    @property
    def damage(self) -> float:
        """How far outputs are predicted to move, as a share of their variance."""
        assert self.cut is not None, "it is reached"
        return self.cut + (self.rounding or 0.0)


@dataclass(frozen=True)
class SizeGoal:
    """What a size came to: the form that was chosen, all that were looked at, and the ``bytes`` that are predicted."""

    max_size: int
    bytes: int
    chosen: PrecisionForm
    forms: tuple[PrecisionForm, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for report.json."""
        return {
            "max_size": self.max_size,
            "predicted_bytes": self.bytes,
            "precision": self.chosen.precision,
            "forms": [asdict(form) for form in self.forms],
        }


def meet_size(context: Context, survey: Survey) -> tuple[Context, Survey, SizeGoal]:
    """Choose the precision of least damage at the size that is asked for; return what a run of it reads.

    Raises OptionError, which names the least that can be had, if no precision gets down to it.
    """
    limit = context.config.byte_limit
    assert limit is not None, "a size is asked for"
    tried = [context.config.precision] if context.config.precision else _precisions(context.config)
    drafts = {name: draft_dense(context, name) for name in tried}
    forms = tuple(_form(context, survey, name, draft, limit) for name, draft in drafts.items())
    reached = [form for form in forms if form.cut is not None]
    for form in sorted(reached, key=lambda form: form.damage):
        met = _fit(context, survey, form, drafts[form.precision], limit)
        if met is not None:
            chosen, fitted, size = met
            return chosen, fitted, SizeGoal(limit, size, form, forms)
    raise _too_small(context, survey, drafts, forms)


def _precisions(config: OptimizeConfig) -> list[str]:
    """Return the precisions to try: those of the effort that the provider runs, and runs well."""
    effort, provider = effort_of(config), config.provider
    assert effort is not None, "a size is asked for"
    slow = SLOW_ON.get(provider, ())
    return [name for name in EFFORTS[effort].precisions if provider in PRECISIONS[name].providers and name not in slow]


def bytes_objective(context: Context, survey: Survey, precision: str, whole: int) -> Objective:
    """Return bytes in ``precision`` as an objective; ``whole`` are those of the dense model in it."""
    stored = PRECISIONS[precision].stored
    free = Objective("the bytes of the file", stored, 0.0, of_tables=stored.of_tables)
    weights = GlobalBudget(1.0, (), free).whole(candidates_of(context, survey))
    return replace(free, fixed=max(whole - weights, 0.0))


def _at(context: Context, survey: Survey, precision: str, whole: int) -> tuple[Context, Survey]:
    asked = replace(context, config=replace(context.config, precision=precision))
    return asked, replace(survey, objective=bytes_objective(asked, survey, precision, whole))


def _form(context: Context, survey: Survey, precision: str, draft: Draft, limit: int) -> PrecisionForm:
    asked, seen = _at(context, survey, precision, draft.bytes)
    allocator = allocator_for(asked, seen)
    assert isinstance(allocator, GlobalBudget), "checked by OptimizeConfig"
    candidates = candidates_of(asked, seen)
    points = allocator.forecast(candidates, [allocator.keep])
    try:
        replace(allocator, keep=1e-9).allocate(candidates)
        least = 0.0
    except BudgetError as error:
        least = error.least * allocator.whole(candidates)
    return PrecisionForm(precision, points[0].output_error if points else None, draft.rounding, round(least))


def _fit(
    context: Context, survey: Survey, form: PrecisionForm, dense: Draft, limit: int
) -> tuple[Context, Survey, int] | None:
    """Return the run whose plan, as it is written in the precision of ``form``, fits in ``limit``; None if none does.

    Nodes and names are not in what weights cost, so what a plan comes to is looked up, and the budget set off by it: by as much
    as was too much or too little, and by halves once that leads out of what is known to be too little and to be enough.
    """
    asked, seen = _at(context, survey, form.precision, dense.bytes)
    seen = _with_pairs(asked, seen, form.precision)
    off, too_little, enough = 0.0, -float(limit), float(limit)
    best: tuple[Context, Survey, int] | None = None
    step, last = 0.0, None
    for _ in range(_FITTINGS):
        fitted = replace(seen, objective=replace(seen.objective, fixed=seen.objective.fixed + off))
        size = _size_of(asked, fitted, form.precision)
        if size is not None and size <= limit and (best is None or size > best[2]):
            best = replace(asked, spare=float(limit - size)), fitted, size
        if size is not None and 0 <= limit - size <= _NEAR * limit:
            break
        too_little, enough = (off, enough) if size is not None and size > limit else (too_little, off)
        step = enough - off if size is None else 4 * step if size == last else float(size - limit)
        off, last = off + step, size
        if not too_little < off < enough:
            off = (too_little + enough) / 2
        if enough - too_little < _NEAR * limit:
            break
    return best


def _with_pairs(context: Context, survey: Survey, precision: str) -> Survey:
    """Return ``survey`` with what a weight that becomes two takes beside its entries: operators, names, scales of rows."""
    allocator = allocator_for(context, survey)
    assert isinstance(allocator, GlobalBudget), "checked by OptimizeConfig"
    try:
        plan = plan_for(context, survey)
    except BudgetError:
        return survey
    candidates = candidates_of(context, survey)
    [point] = allocator.forecast(candidates, [allocator.keep])
    pairs = sum(site.form.thin for site in plan.sites)
    more = draft_plan(context, plan, survey, PlannedPrecision(precision)).bytes - point.share * allocator.whole(
        candidates
    )
    return replace(survey, objective=replace(survey.objective, per_pair=max(more / max(pairs, 1), 0.0)))


def _size_of(context: Context, survey: Survey, precision: str) -> int | None:
    """Return the bytes of the plan as it would be written; None if nothing fits in the budget."""
    try:
        plan = plan_for(context, survey)
    except BudgetError:
        return None
    return draft_plan(context, plan, survey, PlannedPrecision(precision)).bytes


def _too_small(
    context: Context, survey: Survey, drafts: Mapping[str, Draft], forms: Sequence[PrecisionForm]
) -> OptionError:
    """Say what can be had: what the least of each form comes to as it would be written."""
    limit = context.config.byte_limit or 0

    def written(form: PrecisionForm) -> int:
        asked, seen = _at(context, survey, form.precision, drafts[form.precision].bytes)
        ample = replace(asked, config=replace(asked.config, max_size=form.least + 1))
        return _size_of(ample, seen, form.precision) or form.least

    sizes = {form.precision: written(form) for form in forms}
    precision = min(sizes, key=lambda name: sizes[name])
    return OptionError(
        f"`max_size` {readable_bytes(limit)} is less than {context.dense.path} can be cut to: about "
        f"{readable_bytes(sizes[precision])} in {precision}; allow that, take in more with `include`, or leave out `floor`"
    )
