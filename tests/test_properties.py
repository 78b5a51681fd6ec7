"""What holds for every graph: on random ones, with tied weights and subgraphs."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from squeeze_onnx import OptimizeConfig, Plan, squeeze
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms import Dense, Form, SharedLeft, Sliced, form_of_rank
from squeeze_onnx.compress.plan import PlannedPrecision
from squeeze_onnx.compress.plan_reading import read_plan
from squeeze_onnx.compress.planned_site import PlannedSite, break_even_rank
from squeeze_onnx.compress.squeezing import plan_for
from squeeze_onnx.compress.survey import take_survey
from squeeze_onnx.graph.io.model import OnnxModel, load_model
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site, replace_weight
from tests.graph.execution import factor_fully, run, svd_factors
from tests.graph.random_graphs import BOUNDED, PLAIN, GraphPlan, Spelling, graph_plans

EVERYTHING = tuple(str(role) for role in Role)


def as_model(graph: GraphPlan, spelling: Spelling = PLAIN) -> OnnxModel:
    """Load ``graph`` as a user's file is loaded."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph.build(spelling).SerializeToString())
        return load_model(path)


def close(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Assert that outputs agree to 1e-5 of their norm."""
    for found, wanted in zip(actual, expected, strict=True):
        assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)


def config(method: str, keep: float) -> OptimizeConfig:
    return OptimizeConfig(method=method, keep=keep, include=EVERYTHING, simulations=1)


@BOUNDED
@given(graph_plans())
def test_full_rank_factors_keep_the_outputs(graph: GraphPlan) -> None:
    model = as_model(graph).ir
    expected = run(model, graph.feeds())
    for site in find_sites(model).sites:
        factor_fully(model, site)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    close(run(model, graph.feeds()), expected)


@BOUNDED
@given(graph_plans(), st.integers(1, 3))
def test_rewriting_twice_is_rewriting_once(graph: GraphPlan, rank: int) -> None:
    """The truncation of a truncated weight is itself, as factors and as one matrix, and factors can be factored again."""
    model = as_model(graph).ir
    for site in find_sites(model).sites:
        left, right = svd_factors(site.weight.numpy(), rank)
        replace_weight(model, site, left @ right)
    once = run(model, graph.feeds())
    for site in find_sites(model).sites:
        factor_site(model, site, *svd_factors(site.weight.numpy(), rank))
    close(run(model, graph.feeds()), once)
    for site in find_sites(model).sites:
        factor_fully(model, site)
    close(run(model, graph.feeds()), once)


@pytest.mark.parametrize("method", ["svd", "squeeze"])
@BOUNDED
@given(graph=graph_plans(), order=st.integers(0, 100), keep=st.floats(0.5, 0.9))
def test_names_order_and_what_nobody_reads_do_not_matter(
    method: str, graph: GraphPlan, order: int, keep: float
) -> None:
    plain, other = as_model(graph), as_model(graph, Spelling("other/", order, unused=True))
    assume(affordable(plain, keep))
    plans = [squeeze(model, config(method, keep)).plan for model in (plain, other)]
    ranks = [Counter((site.shape, site.rank, site.role, site.layer) for site in plan.sites) for plan in plans]
    assert ranks[0] == ranks[1]
    spare = {"nobody": np.ones((5, 7), np.float32)}
    close(run(other.ir, graph.feeds() | spare), run(plain.ir, graph.feeds()))


@pytest.mark.parametrize("method", ["svd", "squeeze"])
@BOUNDED
@given(graph=graph_plans(), keeps=st.tuples(st.floats(0.5, 1.0), st.floats(0.5, 1.0)).map(sorted))
def test_a_larger_budget_takes_no_rank_away(method: str, graph: GraphPlan, keeps: list[float]) -> None:
    model = as_model(graph)
    assume(affordable(model, keeps[0]))
    survey = take_survey(Context(model, config(method, keeps[0]), ()))
    small, large = (plan_for(Context(model, config(method, keep)), survey) for keep in keeps)
    assert small.kept_parameters <= large.kept_parameters
    for less, more in zip(small.sites, large.sites, strict=True):
        assert more.rank is None or (less.rank is not None and less.rank <= more.rank)


@BOUNDED
@given(graph_plans())
def test_a_higher_rank_leaves_no_larger_error(graph: GraphPlan) -> None:
    for site in find_sites(as_model(graph).ir).sites:
        weight = site.weight.numpy().astype(np.float64)
        errors = []
        for rank in range(1, min(weight.shape) + 1):
            left, right = svd_factors(weight, rank)
            errors.append(np.linalg.norm(weight - left @ right))
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))


def affordable(model: OnnxModel, keep: float) -> bool:
    """Whether rank 1 everywhere fits in ``keep``, with room to spare."""
    sites = find_sites(model.ir).sites
    least = sum(site.in_features + site.out_features for site in sites)
    return bool(sites) and least < keep * sum(site.parameters for site in sites)


names = st.text(min_size=1, max_size=20)


@st.composite
def planned_sites(draw: st.DrawFn) -> PlannedSite:
    rows, columns = draw(st.tuples(st.integers(1, 99), st.integers(1, 99)))
    fate = draw(st.sampled_from(["dense", "truncated", "sliced", "shared"]))
    form: Form = Dense()
    if fate == "sliced" and rows > 1:
        form = Sliced((draw(st.integers(1, rows - 1)), columns))
    if fate == "truncated":
        form = form_of_rank(draw(st.integers(1, min(rows, columns))), break_even_rank(rows, columns))
    if fate == "shared":
        form = SharedLeft(draw(st.integers(1, rows)), draw(names))
    return PlannedSite(
        name=draw(names),
        layer=draw(st.none() | st.integers(0, 99)),
        role=draw(st.sampled_from(EVERYTHING)),
        shape=(rows, columns),
        break_even_rank=break_even_rank(rows, columns),
        form=form,
        reason=draw(st.text(max_size=20)),
        sensitivity=draw(st.floats(0, 1e300)),
    )


plans = st.builds(
    Plan,
    method=st.text(max_size=9),
    budget=st.dictionaries(names, st.floats(0, 1) | names, max_size=3),
    sites=st.lists(planned_sites(), max_size=4).map(tuple),
    skipped=st.lists(st.fixed_dictionaries({"name": names, "reason": names}), max_size=3).map(tuple),
    refit=st.booleans(),
    precision=st.builds(PlannedPrecision, names, st.none() | st.lists(names, max_size=3).map(tuple)),
)


@BOUNDED
@given(plan=plans)
def test_every_plan_survives_the_way_through_its_file(plan: Plan) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_text(json.dumps(plan.to_json(), allow_nan=False), encoding="utf-8")
        assert read_plan(path) == plan
