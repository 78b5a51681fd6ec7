"""JSON reports as tables for a terminal."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from squeeze_onnx.cli.console import plain_table
from squeeze_onnx.compress.forms import TREATMENTS
from squeeze_onnx.report.noise_by_role import noise_by_role
from squeeze_onnx.support.readable import readable_bytes

Report = Mapping[str, Any]


def analysis_table(report: Report) -> Table:
    """One row per site: its spectrum against pure noise."""
    table = plain_table(
        "Spectra of the standardized weights; signal is what stands above the Tracy–Widom edge",
        ["site", "role"],
        ["layer", "shape", "β", "σ", "TW edge", "signal", "eff. rank", "stable", "KS", "p", "break-even"],
    )
    for site in report["sites"]:
        spectrum = site["spectrum"]
        table.add_row(
            site["name"],
            site["role"],
            _layer(site),
            _shape(site["shape"]),
            f"{spectrum['aspect_ratio']:.3f}",
            f"{spectrum['noise_sigma']:.3f}",
            f"{spectrum['tw_edge']:.1f}",
            str(spectrum["signal_rank"]),
            f"{spectrum['effective_rank']:.0f}",
            f"{spectrum['stable_rank']:.1f}",
            f"{spectrum['ks_distance']:.3f}",
            f"{spectrum['ks_p_value']:.2f}",
            str(site["break_even_rank"]),
            style=None if site["eligible"] else "dim",
        )
    return table


def noise_table(report: Report) -> Table:
    """One row per role: σ and the signal rank by each estimate of the noise level."""
    rows = noise_by_role(report)
    names = list(rows[0].sigma) if rows else []
    table = plain_table(
        "The noise level σ by three estimates, and what each takes for signal",
        ["role"],
        ["sites", *(f"{what}, {name}" for name in names for what in ("σ", "signal"))],
    )
    for row in rows:
        table.add_row(row.role, str(row.sites), *(value[name] for name in names for value in (row.sigma, row.signal)))
    return table


def copies_line(report: Report) -> str | None:
    """Say how much of a file is copies of other weights in it; None if nothing is."""
    size = report["size"]
    if not size["duplicates"]:
        return None
    share = size["duplicate_bytes"] / size["baseline_bytes"]
    return (
        f"Duplicates: {readable_bytes(size['duplicate_bytes'])} of {readable_bytes(size['baseline_bytes'])} ({share:.0%}) are "
        f"{size['duplicates']} copies of tensors that the file has already; optimize stores equal weights once"
    )


def optimization_table(report: Report) -> Table:
    """One row per eligible site: what became of it, and why."""
    table = plain_table(
        "Sites",
        ["site", "role", "treatment", "why"],
        ["layer", "shape", "kept shape", "rank", "break-even", "energy", "error", "cosine"],
    )
    for site in report["sites"]:
        table.add_row(
            site["name"],
            site["role"],
            site["treatment"],
            site["reason"],
            _layer(site),
            _shape(site["shape"]),
            "–" if site["kept_shape"] is None else _shape(site["kept_shape"]),
            _rank(site),
            str(site["break_even_rank"]),
            f"{site['spectrum']['energy_kept']:.3f}",
            f"{site['relative_error']:.3f}",
            f"{site['weight_cosine']:.3f}",
        )
    return table


def size_table(report: Report) -> Table:
    """One row per role: how many sites changed and what stays of their parameters."""
    table = plain_table(
        "Eligible weights by role",
        ["role"],
        ["sites", *TREATMENTS, "ranks", "stays", "cosine"],
    )
    by_role: dict[str, list[Report]] = defaultdict(list)
    for site in report["sites"]:
        by_role[site["role"]].append(site)
    for role, sites in by_role.items():
        ranks = sorted(site["rank"] for site in sites if site["rank"] is not None)
        dense = sum(site["shape"][0] * site["shape"][1] for site in sites)
        kept = sum(site["kept_parameters"] for site in sites)
        table.add_row(
            role,
            str(len(sites)),
            *(str(sum(site["treatment"] == treatment for site in sites)) for treatment in TREATMENTS),
            f"{ranks[0]}–{ranks[-1]}" if ranks else "–",
            f"{100 * kept / dense:.1f} %",
            f"{sum(site['weight_cosine'] for site in sites) / len(sites):.3f}",
        )
    return table


def distillation_line(distillation: Report) -> str:
    """Say in a line what learning did to the answers, and whether layers learned alone first."""
    layers, reason = len(distillation["blocks"]), distillation["no_blocks"]
    alone = (
        f"; {layers} layers learned alone first" if layers else f"; no layer learned alone: {reason}" if reason else ""
    )
    return (
        f"Distilled: {distillation['measure']} of answers to held-out text {distillation['before']:.4f} → "
        f"{distillation['after']:.4f}, best after step {distillation['best_step']} of {distillation['steps']}{alone}"
        f"{', ended by Ctrl-C' if distillation['interrupted'] else ''}"
    )


def precision_line(precision: Report) -> str:
    """Say in a line what the weights are stored in, and what that does to the outputs."""
    kept = f", {len(precision['kept'])} kept higher" if precision["kept"] else ""
    output_error, predicted = precision["damage"], precision["predicted_damage"]
    told = "" if output_error is None else f": the outputs move by {output_error:.2g} of their variance"
    told += "" if predicted is None else f", predicted {predicted:.2g}"
    return f"Precision: {len(precision['sites'])} weights in {precision['name']}{kept}{told}"


def processors_line(processors: Report) -> str:
    """Say on which processors the integer products of the model are right, and whether what was measured here holds there."""
    count = len(processors["saturating"])
    if not count:
        return f"Integer products: right on {processors['right_on']}; what was measured here holds on all of them"
    here = (
        "this one is none of these: what was measured here holds on processors like it only"
        if processors["saturates_here"]
        else "what was measured here holds on these only"
    )
    return (
        f"Integer products: {count} saturate elsewhere than on {processors['right_on']}; {here}. "
        "--target-cpu any makes them right everywhere"
    )


def certificate_line(certificate: Report, *, measured_on: str) -> str:
    """Say in a line how far the answers to what they were ``measured_on`` moved, and what bounds that."""
    if certificate["measured"] is None:
        return f"Certificate: {' '.join(certificate['notes'])}"
    measured, bound = certificate["measured"], certificate["bound"]
    told = f"{certificate['measure']} {measured['mean']:.4f} on average, {measured['worst']:.4f} at worst"
    limit = f"; bounds {bound['total']['mean']:.4f} and {bound['total']['worst']:.4f}" if bound else ""
    kind = "held back" if certificate["held_back"] else "that calibration read, too few to hold any back"
    return f"Certificate: on {measured_on} {kind}: {told}{limit}"


def last_look_line(look: Report, *, read: str) -> str:
    """Say in a line how far each step moved the outputs on the texts or inputs ``read``, and how far it was to move them."""
    if look["verdict"] == "not run":
        return f"Last look: {' '.join(look['notes'])}"
    where = (
        "made-up input" if not look["texts"] else f"{look['texts']} {read}{' held back' if look['held_back'] else ''}"
    )
    steps = [told for step in look["steps"] if (told := _moved(step))]
    told = f": outputs move by {', '.join(steps)} of their variance" if steps else ": it runs"
    warning = f" – far outside: {look['broken_by']} broke it" if look["broken_by"] else ""
    return f"Last look: on {where}{told}{warning}"


def _moved(step: Report) -> str:
    if not step["finite"]:
        return f"{step['step']} no number"
    distance = step["error"] if step["moved"] is None else step["moved"]
    predicted = "" if not step["predicted"] else f" ({step['predicted']:.2g} predicted)"
    return "" if distance is None else f"{step['step']} {distance:.2g}{predicted}"


def latency_line(latency: Report) -> str:
    """Say in a line what was predicted of the time of a run, and what was measured."""
    low, high = latency["measured_interval"]
    return (
        f"Latency at {latency['batch_size']} × {latency['sequence_length']} tokens: {latency['baseline_p50_ms']:.2f} ms → "
        f"{latency['optimized_p50_ms']:.2f} ms, predicted {100 * latency['predicted_ratio']:.1f} %, measured "
        f"{100 * latency['measured_ratio']:.1f} % ({100 * low:.1f} … {100 * high:.1f})"
    )


def skipped_table(report: Report) -> Table:
    """One row per site left alone, with the reason."""
    table = plain_table("Left alone", ["site", "why"], [])
    for site in report["skipped"]:
        table.add_row(site["name"], site["reason"])
    return table


def fusion_table(report: Report) -> Table:
    """One row per kind of fused operator: how many the dense model gets and how many the squeezed one has."""
    table = plain_table("Fused operators", ["operator"], ["dense", "squeezed"])
    for kind, counts in report["fused"].items():
        table.add_row(kind, str(counts["dense"]), str(counts["squeezed"]))
    return table


def _layer(site: Report) -> str:
    return "–" if site["layer"] is None else str(site["layer"])


def _rank(site: Report) -> str:
    """Show the rank, and whether the left factor is one that sites share."""
    return "–" if site["rank"] is None else f"{site['rank']}{' shared' if site['shares_left'] else ''}"


def _shape(shape: list[int]) -> str:
    return f"{shape[0]} × {shape[1]}"
