"""plan.json: written, read, edited, and refused when broken."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.compress.forms import Factored, SharedLeft, form_of_rank
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.plan_reading import BY_HAND, read_plan
from squeeze_onnx.compress.planned_site import PlannedSite, break_even_rank
from squeeze_onnx.support.errors import OptionError

SITE = PlannedSite("layer.0/query", 0, "query", (8, 8), 3, Factored(2), "because")


def written(folder: Path, **changes: Any) -> Path:
    document = Plan("svd", {"keep": 0.5}, (SITE,), ({"name": "x", "reason": "y"},)).to_json() | changes
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    return path


def test_a_plan_survives_the_way_through_its_file(tmp_path: Path) -> None:
    plan = Plan("svd", {"keep": 0.5}, (SITE,), ({"name": "x", "reason": "y"},))
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(
    ("rank", "treatment", "kept"), [(None, "dense", 64), (2, "factored", 32), (3, "factored", 48), (5, "denoised", 64)]
)
def test_the_rank_alone_says_what_happens(rank: int | None, treatment: str, kept: int) -> None:
    site = PlannedSite("a", None, "other", (8, 8), 3, form_of_rank(rank, 3), "")
    assert (site.treatment, site.kept_parameters) == (treatment, kept)


def test_a_left_factor_that_sites_share_counts_once() -> None:
    shared = [
        PlannedSite(name, 0, name, (8, 6), 3, SharedLeft(4, "query"), "", sensitivity=0.5)
        for name in ("query", "key", "value")
    ]
    assert [site.kept_parameters for site in shared] == [4 * (8 + 6), 4 * 6, 4 * 6]
    assert {site.treatment for site in shared} == {"factored"}  # above the break-even rank of one alone


def test_a_shared_left_factor_survives_the_way_through_the_file(tmp_path: Path) -> None:
    site = PlannedSite("key", 0, "key", (8, 3), 2, SharedLeft(5, "query"), "because", sensitivity=0.25)
    plan = Plan("whiten", {"keep": 0.5}, (site,))
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    assert read_plan(tmp_path / "plan.json") == plan


@pytest.mark.parametrize(("rank", "reason"), [(2, "because"), (1, BY_HAND), (None, BY_HAND)])
def test_a_site_whose_rank_is_edited_says_so(tmp_path: Path, rank: int | None, reason: str) -> None:
    plan = Plan("whiten", {"keep": 0.5}, (PlannedSite("a", 0, "key", (8, 8), 3, form_of_rank(2, 3), "because"),))
    document = plan.to_json()
    document["sites"][0]["rank"] = rank
    (tmp_path / "plan.json").write_text(json.dumps(document))
    assert [site.reason for site in read_plan(tmp_path / "plan.json").sites] == [reason]


@given(rows=st.integers(1, 5000), columns=st.integers(1, 5000))
def test_break_even_is_the_last_rank_at_which_factors_are_smaller(rows: int, columns: int) -> None:
    rank = break_even_rank(rows, columns)
    assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, '"format"'),
        ({"method": 3}, '"method"'),
        ({"sites": {}}, '"sites"'),
        ({"budget": {"keep": float("nan")}}, "is not JSON (it holds NaN)"),
        ({"skipped": ["x"]}, "skipped[0]"),
        ({"skipped": [{"name": "x", "reason": None}]}, "skipped[0]"),
        ({"sites": [7]}, "sites[0]"),
        ({"sites": [{"name": "q", "shape": [8]}]}, '(q): "shape"'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": 9}]}, '"rank" is 9'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": 0}]}, '"rank" is 0'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": True}]}, '"rank" is True'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": None, "layer": "x"}]}, '"layer"'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": None, "shares_left": "k"}]}, "\"shares_left\" is 'k'"),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": 2, "shares_left": 1}]}, '"shares_left" is 1'),
        ({"sites": [{"name": "q", "shape": [8, 4], "rank": 9, "shares_left": "k"}]}, '"rank" is 9'),
        (
            {"sites": [{"name": "q", "shape": [8, 8], "kept_shape": [8, 4], "shares_left": "k"}]},
            "\"shares_left\" is 'k'",
        ),
        ({"sites": [{"name": "q", "shape": [8, 8], "rank": 2, "kept_shape": [8, 4]}]}, '"kept_shape" is [8, 4]'),
        (
            {"sites": [{"name": "q", "shape": [8, 8], "rank": 2, "shares_left": "k", "kept_shape": [8, 4]}]},
            '"kept_shape" is [8, 4] beside rank and shares_left: set one of them to null',
        ),
        ({"sites": [{"name": "q", "shape": [8, 8], "sensitivity": -1}]}, '(q): "sensitivity" is -1'),
        ({"sites": [{"name": "q", "shape": [8, 8], "sensitivity": True}]}, '"sensitivity" is True'),
        ({"sites": [{"name": "q", "shape": [8, 8], "rnak": 3}]}, "(q): unknown key 'rnak'; did you mean rank?"),
        ({"precission": {}}, "unknown key 'precission'; did you mean precision?"),
    ],
)
def test_a_broken_plan_is_refused_with_the_entry_at_fault(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_plan(written(tmp_path, **changes))
    assert words in str(caught.value)
    assert "plan.json" in str(caught.value)


def test_a_plan_that_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read"):
        read_plan(tmp_path / "none.json")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(OptionError, match="not JSON"):
        read_plan(tmp_path / "plan.json")
