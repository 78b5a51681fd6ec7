"""Time and spectral error of the decompositions, on real weights and on a large matrix with a slowly decaying spectrum.

    python -m tools.bench_decomposition [--rank 256] [--repeats 3] [--row LABEL …]

Of each of `MODELS` the weight of every role in its middle layer and its largest embedding are decomposed, and every weight by two
methods; then a synthetic 4096×25088 matrix, which takes minutes and 8 GB. Keeps two rows of
models/decompositions/results/decomposition.json for each matrix: one of errors, one of times. Methods take turns, so that a busy
machine slows all of them; a speed-up is the median over the rounds of the ratio to scipy's SVD in the same round. Needs
scikit-learn.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy.fft
import scipy.linalg
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.match.roles import Role
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.spectral.decompositions import (
    Decomposer,
    Exact,
    Factors,
    Randomized,
    SubspaceIteration,
    singular_values,
)
from squeeze_onnx.spectral.decompositions.error_bounds import expected_spectral_error, krylov_norm
from tools.measuring import Clock, Recorder, models_option, row_options
from tools.rows import Tolerance

ROLES = (Role.QUERY, Role.ATTENTION_OUTPUT, Role.FFN_IN, Role.FFN_OUT)
LARGE_SIZE = 2**23
LARGE_SHAPE = 4096, 25088
LARGE_RANK = 200
LARGE_EXPONENT = 0.5
LARGE_LABEL = f"synthetic σᵢ = i^−{LARGE_EXPONENT}, {LARGE_SHAPE[0]}×{LARGE_SHAPE[1]}"
REFERENCE = "scipy SVD"
PLACE = "decompositions/decomposition"
MODELS = ("minilm-l6", "mpnet-base")
TIMES = ", times"
"""What the labels of rows of times end with."""
ERROR = Tolerance(relative=0.02, why="2 %: the draws are the same, their products are rounded")


@dataclass(frozen=True)
class Outcome:
    """An approximation, and what the method itself says of its error, if it does."""

    factors: Factors
    bound: float | None = None


@dataclass(frozen=True)
class Method:
    """``run(weight, rank)`` on the weight in ``dtype``; ``expected``: the error known beforehand from the spectrum.

    is_full: it computes all singular triplets, whatever the rank.
    """

    label: str
    run: Callable[[np.ndarray, int], Outcome]
    dtype: type[np.floating] = np.float64
    expected: Callable[[np.ndarray, int], float] | None = None
    is_full: bool = False


@dataclass(frozen=True)
class Case:
    """A float32 matrix of known singular values."""

    label: str
    weight: np.ndarray
    spectrum: np.ndarray
    rank: int


@dataclass(frozen=True)
class Finding:
    """One method on one matrix. Errors are spectral norms over the optimal one, σ_{rank+1}."""

    method: str
    seconds: float
    speed_up: float
    error: float
    bound: float | None
    expected: float | None


def full_svd(svd: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Callable[[np.ndarray, int], Outcome]:
    def run(weight: np.ndarray, rank: int) -> Outcome:
        left, values, right = svd(weight, full_matrices=False)
        return Outcome(Factors(left[:, :rank] * values[:rank], right[:rank].copy()))  # a view would keep all of it

    return run


def sklearn_svd(weight: np.ndarray, rank: int) -> Outcome:
    left, values, right = randomized_svd(weight, rank, random_state=0)
    return Outcome(Factors(left * values, right))


def ours(decomposer: Decomposer) -> Callable[[np.ndarray, int], Outcome]:
    def run(weight: np.ndarray, rank: int) -> Outcome:
        found = decomposer.decompose(weight, rank)
        return Outcome(found.factors(rank), found.spectral_error_bound)

    return run


def expected(oversampling: int, power_iterations: int) -> Callable[[np.ndarray, int], float]:
    return lambda spectrum, rank: expected_spectral_error(spectrum, rank, oversampling, power_iterations)


def our_methods(rank: int, dtype: type[np.floating]) -> list[Method]:
    suffix = "" if dtype is np.float64 else ", float32"
    oversampling = max(10, rank // 4)
    return [
        Method(f"RSVD{suffix}", ours(Randomized(working_dtype=dtype)), dtype, expected(10, 1)),
        *(
            Method(
                f"RSI q = {q}{suffix}",
                ours(SubspaceIteration(q, oversampling=oversampling, working_dtype=dtype)),
                dtype,
                expected(oversampling, q),
            )
            for q in range(1, 6)
        ),
        Method(f"RSI adaptive{suffix}", ours(SubspaceIteration(working_dtype=dtype)), dtype),
    ]


def spectral_error(case: Case, factors: Factors) -> float:
    """‖W − left @ right‖₂ over σ_{rank+1}; of a large matrix by block Krylov, from below, good to about 0.1 %."""
    rest = case.weight - factors.product()
    if min(rest.shape) <= 1024:
        norm = float(singular_values(rest)[0])
    else:
        start = np.random.default_rng(1).standard_normal((rest.shape[0], 16)).astype(rest.dtype)
        norm = krylov_norm(lambda block: rest @ (rest.T @ block), start).estimate
    return norm / float(case.spectrum[case.rank])


def measure(case: Case, methods: Sequence[Method], repeats: int) -> list[Finding]:
    """Every method ``repeats`` times in turns; full SVDs of a large weight in the first round only."""
    once = {method.label for method in methods if method.is_full and case.weight.size > LARGE_SIZE}
    inputs = {dtype: case.weight.astype(dtype) for dtype in {method.dtype for method in methods}}
    seconds: dict[str, list[float]] = {method.label: [] for method in methods}
    outcomes: dict[str, Outcome] = {}
    for round_number in range(repeats):
        for method in methods:
            if round_number == 0 or method.label not in once:
                start = time.perf_counter()
                outcomes[method.label] = method.run(inputs[method.dtype], case.rank)
                seconds[method.label].append(time.perf_counter() - start)
    optimum = float(case.spectrum[case.rank])
    rows = []
    for method in methods:
        times, bound = seconds[method.label], outcomes[method.label].bound
        references = seconds[REFERENCE] * repeats if REFERENCE in once else seconds[REFERENCE]
        row = Finding(
            method.label,
            float(np.median(times)),
            float(np.median([reference / own for reference, own in zip(references, times, strict=False)])),
            spectral_error(case, outcomes[method.label].factors),
            None if bound is None else bound / optimum,
            None if method.expected is None else method.expected(case.spectrum, case.rank) / optimum,
        )
        click.echo(f"{case.label}: {row}", err=True)
        rows.append(row)
    return rows


def case_of(site: MatMulSite, model: str, rank: int) -> Case:
    weight = site.weight.numpy().astype(np.float32)
    return Case(label_of(site, model), weight, singular_values(weight), rank)


def label_of(site: MatMulSite, model: str) -> str:
    """Return the label of the row of a weight."""
    where = site.role.value.replace("_", " ") + ("" if site.layer is None else f", layer {site.layer}")
    return f"{model}: {where}, {site.in_features}×{site.out_features}"


def eligible(sites: Iterable[MatMulSite], rank: int) -> list[MatMulSite]:
    """Weights that are wider than the sketch that RSI takes for ``rank``."""
    return [site for site in sites if min(site.weight.shape) > rank + max(10, rank // 4)]


def representatives(sites: Sequence[MatMulSite]) -> list[MatMulSite]:
    """For each role its site in the middle layer, and the largest embedding."""
    middle = max(site.layer or 0 for site in sites) // 2
    embeddings = [site for site in sites if site.role is Role.EMBEDDING]
    largest = sorted(embeddings, key=lambda site: -site.parameters)[:1]
    return [site for role in ROLES for site in sites if site.role is role and site.layer == middle] + largest


def survey(sites: Sequence[MatMulSite], model: str, rank: int) -> dict[str, Any]:
    """The largest error over the optimal one that each role sees, of RSVD and of RSI with adaptive q."""
    decomposers: dict[str, Decomposer] = {"rsvd": Randomized(), "rsi": SubspaceIteration()}
    errors: dict[Role, dict[str, list[float]]] = {}
    for site in sites:
        case = case_of(site, model, rank)
        of_role = errors.setdefault(site.role, {name: [] for name in decomposers})
        for name, decomposer in decomposers.items():
            factors = decomposer.decompose(case.weight.astype(np.float64), rank).factors(rank)
            of_role[name].append(spectral_error(case, factors))
        click.echo(f"{case.label}: {of_role['rsvd'][-1]:.4f} {of_role['rsi'][-1]:.4f}", err=True)
    return {
        role.value: {"weights": len(of_role["rsi"])}
        | {f"worst_{name}": max(values) for name, values in of_role.items()}
        for role, of_role in errors.items()
    }


def large_case() -> Case:
    """Singular values i^-½ with the vectors of random signs and cosine transforms, which are orthogonal and fast."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1.0, min(LARGE_SHAPE) + 1) ** -LARGE_EXPONENT
    weight = np.zeros(LARGE_SHAPE, dtype=np.float32)
    np.fill_diagonal(weight, spectrum)
    for axis in (0, 1, 0, 1):
        signs = rng.choice(np.array([-1, 1], np.float32), size=LARGE_SHAPE[axis])
        weight *= np.expand_dims(signs, 1 - axis)
        weight = scipy.fft.dct(weight, axis=axis, norm="ortho", overwrite_x=True)
    return Case(LARGE_LABEL, weight, spectrum, LARGE_RANK)


def methods_of(rank: int) -> list[Method]:
    """Return what the weights of models are decomposed by."""
    return [
        Method(REFERENCE, full_svd(scipy.linalg.svd), is_full=True),
        Method("numpy SVD", full_svd(np.linalg.svd), is_full=True),
        Method("scikit-learn randomized_svd", sklearn_svd),
        Method("Exact", ours(Exact())),
        *our_methods(rank, np.float64),
        our_methods(rank, np.float32)[-1],
    ]


def measure_large(case: Case, repeats: int) -> list[Finding]:
    """Decompose the large matrix."""
    reference = Method(REFERENCE, full_svd(scipy.linalg.svd), is_full=True)
    single = Method("scipy SVD, float32", full_svd(scipy.linalg.svd), np.float32, is_full=True)
    sketches = [*our_methods(case.rank, np.float32), Method("scikit-learn, float32", sklearn_svd, np.float32)]
    return measure(case, [reference, single, *sketches], repeats)


@click.command()
@models_option
@row_options
@click.option("--rank", default=256, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(*, models: Path, rank: int, repeats: int, recorder: Recorder) -> None:
    """Measure, and keep rows in models/decompositions/results/decomposition.json."""
    options = *("--rank", str(rank)), *("--repeats", str(repeats))
    command = ("tools.bench_decomposition", *options)
    for name in MODELS:
        if not any(label.startswith(name) for label in recorder.labels or MODELS):
            continue
        sites = eligible(find_sites(load_model(models / name / "onnx").ir).sites, rank)
        for site in representatives(sites):
            if any(recorder.wants(label_of(site, name) + end) for end in ("", TIMES)):
                case = case_of(site, name, rank)
                keep_case(case, partial(measure, case, methods_of(rank), repeats), repeats, command, recorder)
        if recorder.wants(f"{name}, every weight"):
            clock = Clock()
            roles = survey(sites, name, rank)
            values = {"model": name, "rank": rank, "roles": roles}
            allowed = {f"roles.{role}.worst_rsi": ERROR for role in roles}
            label = f"{name}, every weight"
            recorder.keep(PLACE, label, command, values, allowed, seconds=clock.lap())
    if any(recorder.wants(LARGE_LABEL + end) for end in ("", TIMES)):
        case = large_case()
        keep_case(case, partial(measure_large, case, repeats), repeats, command, recorder)


def keep_case(
    case: Case, measured: Callable[[], list[Finding]], repeats: int, command: tuple[str, ...], recorder: Recorder
) -> None:
    """Measure a matrix; keep a row of errors, and one of times."""
    clock = Clock()
    found = {row.method: asdict(row) for row in measured()}
    seconds = clock.lap()
    errors = {method: {key: row[key] for key in ("error", "bound", "expected")} for method, row in found.items()}
    times = {method: {key: row[key] for key in ("seconds", "speed_up")} for method, row in found.items()}
    if recorder.wants(case.label):
        allowed = {f"methods.{method}.error": ERROR for method in errors}
        recorder.keep(PLACE, case.label, command, {"rank": case.rank, "methods": errors}, allowed, seconds=seconds)
    if recorder.wants(case.label + TIMES):
        threads = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        values = {"rank": case.rank, "repeats": repeats, "threads": threads, "methods": times}
        recorder.keep(PLACE, case.label + TIMES, command, values, {}, seconds=seconds, speed=True)


if __name__ == "__main__":
    main()
