"""When a step counts as having broken a model, and what is said of it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze_onnx.evaluate.last_look import LastLook, Step

CALLED = {
    "squeezing": "squeezing",
    "distillation": "distillation",
    "fusing": "`fuse` cpu",
    "rounding": "`precision` int8",
}
FINE = Step("squeezing", predicted=0.05, moved=0.07, farthest=0.09, error=0.07)


def look(*steps: Step, **options: object) -> LastLook:
    return LastLook(256, True, steps, **options)  # type: ignore[arg-type]


def rounding(moved: float, predicted: float | None = 0.014, error: float = 0.1) -> Step:
    return Step("rounding", predicted, moved, moved, error)


@pytest.mark.parametrize(
    "steps",
    [
        (FINE,),
        (Step("squeezing", predicted=0.3, moved=2.5, farthest=2.5, error=2.5),),
        (Step("squeezing", moved=3.0, farthest=3.0, error=3.0),),
        (Step("squeezing", predicted=0.01, moved=0.9, farthest=0.9, error=0.9),),
        (FINE, rounding(0.3)),
        (Step("squeezing", moved=3.0, farthest=3.0, error=3.0), rounding(0.2, None, 3.0)),
        (FINE, rounding(1.5, 0.2)),
        (FINE, Step("distillation", moved=0.8, farthest=0.8, error=0.06), rounding(0.02)),
        (FINE, Step("fusing", 0.0, 1e-9, 1e-9, 0.07)),
        (Step("squeezing"), rounding(0.3, None)),
        (Step("squeezing", predicted=0.1),),
    ],
    ids=[
        "as predicted",
        "a cut that was predicted to hurt",
        "a cut of which nothing was predicted",
        "few texts that were learned by heart",
        "coarse rounding",
        "rounding of what is ruined already",
        "rounding that was predicted to hurt",
        "learning that moves towards the dense model",
        "fused",
        "rounded without data",
        "not measured",
    ],
)
def test_nothing_is_broken(steps: tuple[Step, ...]) -> None:
    assert look(*steps).broken is None
    assert look(*steps).verdict != "far outside"


@pytest.mark.parametrize(
    ("steps", "broken"),
    [
        ((Step("squeezing", predicted=0.05, moved=1.1, farthest=1.1, error=1.1),), "squeezing"),
        ((FINE, rounding(1.98)), "rounding"),
        ((FINE, rounding(0.6, None)), "rounding"),
        ((FINE, Step("rounding", 0.01, 0.02, 1.9, 0.1)), "rounding"),
        ((FINE, Step("fusing", 0.0, 0.7, 0.7, 0.6), rounding(0.01)), "fusing"),
        ((FINE, Step("distillation", moved=0.9, farthest=0.9, error=0.7)), "distillation"),
        ((Step("squeezing", error=math.inf),), "squeezing"),
        ((FINE, rounding(math.inf, 0.01, math.inf)), "rounding"),
        ((Step("squeezing"), rounding(math.inf, None)), "rounding"),
    ],
    ids=[
        "a cut that was to be mild",
        "destroyed",
        "destroyed without a prediction",
        "one of many outputs",
        "by fusing",
        "by learning",
        "NaN from the start",
        "NaN",
        "NaN on made-up input",
    ],
)
def test_the_step_that_broke_it_is_found(steps: tuple[Step, ...], broken: str) -> None:
    found = look(*steps)
    assert found.broken is not None
    assert found.to_json()["broken_by"] == found.broken.name == broken
    assert found.verdict == "far outside"


def test_the_sentence_says_what_broke_and_what_was_fine() -> None:
    assert look(FINE, rounding(1.98)).what_broke(CALLED) == (  # type: ignore[arg-type]
        "on 256 texts that were held back `precision` int8 moves the outputs by 2 of their variance, where 0.014 was predicted "
        "(after squeezing it was 0.07)"
    )
    in_sample = LastLook(3, False, (Step("squeezing", 0.1, math.inf, math.inf, math.inf),))
    assert in_sample.what_broke(CALLED) == (  # type: ignore[arg-type]
        "on 3 texts that calibration read squeezing makes outputs NaN or infinite"
    )
    made_up = LastLook(0, False, (Step("squeezing"), Step("fusing", 0.0, 0.8, 0.8)))
    assert made_up.what_broke(CALLED) == (  # type: ignore[arg-type]
        "on made-up input `fuse` cpu moves the outputs by 0.8 of their variance, where 0 was predicted"
    )


def test_predictions_add_up_where_every_part_is_known() -> None:
    distilled = Step("distillation", moved=0.01, farthest=0.01, error=0.06)
    assert look(FINE, distilled, rounding(0.02)).predicted == pytest.approx(0.064)
    assert look(FINE, rounding(0.02, None)).predicted is None
    assert look(FINE, rounding(0.02, error=0.11)).to_json()["measured"] == 0.11


def test_a_model_that_only_ran_or_did_not_run_has_no_verdict() -> None:
    assert LastLook(0, False, (Step("squeezing"),)).verdict == "ran"
    assert LastLook(0, False, (Step("squeezing"),), ran=False, notes=("no onnxruntime",)).verdict == "not run"


numbers = st.none() | st.floats(min_value=0, allow_nan=False)


@given(st.builds(Step, st.sampled_from([*CALLED]), numbers.filter(lambda x: x != math.inf), numbers, numbers, numbers))
def test_whatever_was_measured_is_json(step: Step) -> None:
    text = json.dumps(look(FINE, step).to_json(), allow_nan=False)
    assert json.loads(text)["steps"][1]["finite"] == (math.inf not in (step.moved, step.error))
