"""Time and spectral error of the decompositions, on real weights and on a large matrix with a slowly decaying spectrum.

    python -m tools.bench_decomposition run MODEL… [--rank 256] [--repeats 5] [--every-weight] [--large]
    python -m tools.bench_decomposition choice
    python -m tools.bench_decomposition table

``choice`` times RSI against the exact decomposition by shape and rank, which is what ``--decomposition auto`` goes by, and writes
models/decompositions/results/choice.json.

MODEL is an .onnx file or a folder with one; of each, the weight of every role in its middle layer and its largest embedding
are decomposed. ``run`` writes models/decompositions/results/decomposition.json and prints all of it as tables; ``table`` puts
some of them into the documentation. Methods take turns, so that a busy machine slows all of them; a speed-up is the median over
the rounds of the ratio to scipy's SVD in the same round. Needs scikit-learn.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from squeeze_onnx.support.environment import environment
from tools.measuring import page_option, results_path
from tools.readme_tables import put_table

ROLES = (Role.QUERY, Role.ATTENTION_OUTPUT, Role.FFN_IN, Role.FFN_OUT)
LARGE_SIZE = 2**23
LARGE_SHAPE = 4096, 25088
LARGE_RANK = 200
LARGE_EXPONENT = 0.5
REFERENCE = "scipy SVD"
RESULTS = results_path("decompositions", "decomposition")
CHOICE_SHAPES = ((768, 3072), (1024, 4096), (2048, 8192))
CHOICE_SHARES = (1 / 16, 1 / 8, 1 / 4)
SHOWN = ("mpnet-base: ffn in", "synthetic")
"""Parts of the labels of the matrices that the documentation shows."""


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
class Row:
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


def measure(case: Case, methods: Sequence[Method], repeats: int) -> list[Row]:
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
        row = Row(
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
    where = site.role.value.replace("_", " ") + ("" if site.layer is None else f", layer {site.layer}")
    return Case(f"{model}: {where}, {site.in_features}×{site.out_features}", weight, singular_values(weight), rank)


def eligible(sites: Iterable[MatMulSite], rank: int) -> list[MatMulSite]:
    """Weights that are wider than the sketch that RSI takes for ``rank``."""
    return [site for site in sites if min(site.weight.shape) > rank + max(10, rank // 4)]


def representatives(sites: Sequence[MatMulSite]) -> list[MatMulSite]:
    """For each role its site in the middle layer, and the largest embedding."""
    middle = max(site.layer or 0 for site in sites) // 2
    embeddings = [site for site in sites if site.role is Role.EMBEDDING]
    largest = sorted(embeddings, key=lambda site: -site.parameters)[:1]
    return [site for role in ROLES for site in sites if site.role is role and site.layer == middle] + largest


def survey(sites: Sequence[MatMulSite], model: str, rank: int) -> list[dict[str, Any]]:
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
    return [
        {"model": model, "role": role.value, "weights": len(of_role["rsi"])}
        | {f"worst_{name}": max(values) for name, values in of_role.items()}
        for role, of_role in errors.items()
    ]


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
    label = f"synthetic σᵢ = i^−{LARGE_EXPONENT}, {LARGE_SHAPE[0]}×{LARGE_SHAPE[1]}"
    return Case(label, weight, spectrum, LARGE_RANK)


def measure_large(repeats: int) -> tuple[Case, list[Row]]:
    case = large_case()
    reference = Method(REFERENCE, full_svd(scipy.linalg.svd), is_full=True)
    single = Method("scipy SVD, float32", full_svd(scipy.linalg.svd), np.float32, is_full=True)
    sketches = [*our_methods(case.rank, np.float32), Method("scikit-learn, float32", sklearn_svd, np.float32)]
    return case, measure(case, [reference, single, *sketches], repeats)


def markdown(case: Mapping[str, Any]) -> str:
    """Return the table of one matrix."""

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    lines = [
        f"{case['label']}, rank {case['rank']}:",
        "",
        "| method | time, ms | times faster than scipy's SVD | error ÷ optimum | its own bound | expected ÷ optimum |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in case["rows"]:
        numbers = number(row["error"], 4), number(row["bound"], 2), number(row["expected"], 2)
        lines.append(
            f"| {row['method']} | {row['seconds'] * 1e3:.0f} | {row['speed_up']:.1f} | {' | '.join(numbers)} |"
        )
    return "\n".join([*lines, ""])


def survey_markdown(entries: Sequence[Mapping[str, Any]], rank: int) -> str:
    """Return the table of all weights."""
    lines = [
        f"Every weight, rank {rank}, the largest error ÷ optimum:",
        "",
        "| model | role | weights | RSVD | RSI adaptive |",
        "|---|---|---:|---:|---:|",
    ]
    for entry in entries:
        worst = f"{entry['worst_rsvd']:.4f} | {entry['worst_rsi']:.4f}"
        lines.append(f"| {entry['model']} | {entry['role'].replace('_', ' ')} | {entry['weights']} | {worst} |")
    return "\n".join([*lines, ""])


def tables(measured: Mapping[str, Any], shown: Sequence[str] = ("",)) -> Iterator[str]:
    """Yield the tables of what was ``measured``; of the matrices those whose label contains one of ``shown``."""
    machine, cases = measured["environment"], measured["cases"]
    yield (
        f"Wall time, medians of {machine['repeats']} rounds; BLAS threads: {machine['threads']}. An error is ‖W − Ŵ‖₂, the "
        "optimum the singular value after the last that is kept.\n"
    )
    yield from (markdown(case) for case in cases if any(text in case["label"] for text in shown))
    if measured["every_weight"]:
        yield survey_markdown(measured["every_weight"], cases[0]["rank"])


@click.group()
def main() -> None:
    """Measure, and make the tables of what was measured."""


@main.command()
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
@click.option("--rank", default=256, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--every-weight", is_flag=True, help="Also the largest error over all weights, by role.")
@click.option("--large", is_flag=True, help="Also the synthetic 4096×25088 matrix: minutes, and 8 GB.")
def run(*, models: Sequence[Path], results: Path, rank: int, repeats: int, every_weight: bool, large: bool) -> None:
    """Measure, write models/decompositions/results/decomposition.json, and print its tables."""
    methods = [
        Method(REFERENCE, full_svd(scipy.linalg.svd), is_full=True),
        Method("numpy SVD", full_svd(np.linalg.svd), is_full=True),
        Method("scikit-learn randomized_svd", sklearn_svd),
        Method("Exact", ours(Exact())),
        *our_methods(rank, np.float64),
        our_methods(rank, np.float32)[-1],
    ]
    measured: list[tuple[Case, list[Row]]] = []
    entries: list[dict[str, Any]] = []
    for path in models:
        model = path.parent.name if path.name in {"onnx", "model.onnx"} else path.stem
        sites = eligible(find_sites(load_model(path).ir).sites, rank)
        for site in representatives(sites):
            case = case_of(site, model, rank)
            measured.append((case, measure(case, methods, repeats)))
        if every_weight:
            entries += survey(sites, model, rank)
    if large:
        measured.append(measure_large(repeats))
    cases = [{"label": case.label, "rank": case.rank, "rows": [asdict(row) for row in rows]} for case, rows in measured]
    threads = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    machine = environment() | {"threads": threads, "repeats": repeats}
    document = {"environment": machine, "cases": cases, "every_weight": entries}
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    click.echo("\n".join(tables(document)))


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default=results_path("decompositions", "choice"))
def choice(results: Path) -> None:
    """Time RSI and the exact decomposition, in processor seconds, on matrices with σᵢ = i^−½."""
    rows = []
    for shape in CHOICE_SHAPES:
        side = min(shape)
        rng = np.random.default_rng(0)
        vectors = [np.linalg.qr(rng.standard_normal((size, side)))[0] for size in shape]
        weight = (vectors[0] * np.arange(1.0, side + 1) ** -LARGE_EXPONENT) @ vectors[1].T
        for share in CHOICE_SHARES:
            seconds = {}
            for name, decomposer in (("exact", Exact()), ("rsi", SubspaceIteration())):
                start = time.process_time()
                decomposer.decompose(weight, int(share * side))
                seconds[name] = round(time.process_time() - start, 3)
            rows.append({"shape": list(shape), "rank": int(share * side), "seconds": seconds})
            click.echo(rows[-1])
    threads = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    document = {"environment": environment() | {"threads": threads}, "rows": rows}
    results.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@main.command()
@page_option
def table(page: Path) -> None:
    """Put the tables of some matrices between their markers in the documentation."""
    put_table(page, "decomposition", tables(json.loads(RESULTS.read_text(encoding="utf-8")), SHOWN))


if __name__ == "__main__":
    main()
