"""What the estimates of σ say by role."""

from squeeze_onnx.report.noise_by_role import noise_by_role, span


def site(role: str, sigma: float, signal: int) -> dict[str, object]:
    found = {
        name: {"noise_sigma": sigma / (1 + place), "signal_rank": signal + place} for place, name in enumerate("ab")
    }
    return {"role": role, "spectrum": {"by_noise_estimator": found}}


def test_ranges_of_each_estimate_are_told_by_role() -> None:
    rows = noise_by_role({"sites": [site("query", 1.0, 4), site("key", 1.0, 7), site("query", 0.9, 6)]})
    assert [(row.role, row.sites) for row in rows] == [("query", 2), ("key", 1)]
    assert rows[0].sigma == {"a": "0.900–1.000", "b": "0.450–0.500"}
    assert rows[0].signal == {"a": "4–6", "b": "5–7"}
    assert rows[1].signal == {"a": "7", "b": "8"}


def test_what_looks_the_same_is_told_once() -> None:
    assert span([0.50001, 0.50002], ".3f") == "0.500"
