"""Forms of weights: each reads what it writes, and a form of one's own is carried out by what knows nothing of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress import forms
from squeeze_onnx.compress.allocators import Cost
from squeeze_onnx.compress.factoring import Truncating, rewrite_sites
from squeeze_onnx.compress.forms import FORMS, Denoised, Dense, Factored, Form, Removed, SharedLeft, Sliced, read_form
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.planned_site import Approximation, PlannedSite, Whole
from squeeze_onnx.compress.truncation import TruncationErrors, replacement_errors
from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.spectral.decompositions import Decomposer, Exact
from squeeze_onnx.spectral.weightings import Identity, Weighting
from tests.tiny_encoder import encoder_model

SHAPE = (8, 6)
OF_EACH: dict[type[Form], Form] = {
    Removed: Removed(),
    SharedLeft: SharedLeft(5, "first"),
    Sliced: Sliced((8, 4)),
    Factored: Factored(3),
    Denoised: Denoised(4),
    Dense: Dense(),
}


def test_there_is_a_case_for_each_form() -> None:
    assert set(OF_EACH) == set(FORMS)


@pytest.mark.parametrize("form", OF_EACH.values(), ids=str)
def test_a_form_reads_what_it_writes_and_writes_its_keys(form: Form) -> None:
    entry = PlannedSite("a", None, "other", SHAPE, 3, form, "").to_json()
    assert read_form(entry, SHAPE) == form
    assert {key for key in forms.FORM_KEYS if entry.get(key) is not None} == set(form.keys) == set(form.to_json())


@dataclass(frozen=True)
class Diagonal(Form):
    """Only the diagonal stays, times ``scale``."""

    scale: float
    treatment: ClassVar[str] = "diagonal"
    keys: ClassVar[tuple[str, ...]] = ("diagonal_scale",)
    truncates: ClassVar[bool] = True

    @classmethod
    def read(cls, entry: Mapping[str, Any], shape: tuple[int, int]) -> Self | None:
        scale = entry.get("diagonal_scale")
        return None if scale is None else cls(scale)

    def to_json(self) -> dict[str, Any]:
        return {"diagonal_scale": self.scale}

    def cost(self, site: PlannedSite, cost: Cost) -> float:
        return float(min(site.shape))

    def approximate(
        self,
        weights: Sequence[np.ndarray],
        sensitivities: Sequence[float],
        weighting: Weighting,
        decomposer: Decomposer,
    ) -> tuple[Sequence[Approximation], Sequence[TruncationErrors]]:
        [weight] = weights
        kept = self.scale * weight * np.eye(*weight.shape)
        return [Whole(kept)], [replacement_errors(weight, kept, 0.0, 1.0, np.ones(1))]


def test_a_form_of_ones_own_is_read_costed_and_carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FORMS", (Diagonal, *FORMS))
    model = ir.from_proto(encoder_model())
    site = find_sites(model).sites[0]
    shape = (site.in_features, site.out_features)
    form = read_form({"diagonal_scale": 2.0}, shape)
    planned = PlannedSite(site.name, site.layer, str(site.role), shape, site.break_even_rank, form, "")
    before = site.weight.numpy()
    errors = rewrite_sites(model, [site], [planned], Truncating(lambda _: Identity(), Exact()))
    after = {each.name: each for each in find_sites(model).sites}[site.name].weight.numpy()
    np.testing.assert_array_equal(after, 2 * before * np.eye(*shape))
    assert list(errors) == [site.name]
    plan = Plan("svd", {}, (planned,))
    assert (plan.kept_parameters, planned.treatment) == (min(shape), "diagonal")
    assert plan.to_json()["sites"][0]["diagonal_scale"] == 2.0
