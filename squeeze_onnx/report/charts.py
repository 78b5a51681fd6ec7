"""What the pages draw: plain values for assets/report.js, made of the JSON reports. Nothing is computed in the browser."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from squeeze_onnx.evaluate.metrics import unit_of, worsening_of
from squeeze_onnx.graph.match.roles import Role

NO_LAYER = "no layer"

Report = Mapping[str, Any]


def optimization_charts(report: Report) -> dict[str, Any]:
    """Return what the page of `optimize` draws: the frontier if there is one, what stays where, and every site."""
    frontier = _searched(report["search"]) if "search" in report else _predicted(report["frontier"])
    kept = [site["kept_parameters"] / (site["shape"][0] * site["shape"][1]) for site in report["sites"]]
    labels = [_kept_label(site) for site in report["sites"]]
    charts = {"map": _map(report["sites"], kept, labels, "of the parameters stay", 1.0)}
    return {
        "charts": charts | ({} if frontier is None else {"frontier": frontier}),
        "sites": [_optimized_site(site, report["method"]) for site in report["sites"]],
    }


def analysis_charts(report: Report) -> dict[str, Any]:
    """Return what the page of `analyze` draws: the signal in every weight, and every site."""
    shares = [site["spectrum"]["signal_rank"] / min(site["shape"]) for site in report["sites"]]
    labels = [f"signal rank {site['spectrum']['signal_rank']}" for site in report["sites"]]
    return {
        "charts": {
            "map": _map(report["sites"], shares, labels, "of the singular values are signal", max(shares) or 1.0)
        },
        "sites": [_site(site) for site in report["sites"]],
    }


def validation_charts(report: Report) -> dict[str, Any]:
    """Return what the page of `validate` draws for each provider: drops with their intervals, latency and robustness."""
    charts: dict[str, Any] = {}
    for number, (provider, found) in enumerate(report["providers"].items()):
        if found["metrics"]:
            charts[f"drops-{number}"] = _drops(found["metrics"], report["primary_metric"], report["max_drop"])
        charts[f"latency-{number}"] = _latency(report["latency"][provider])
        if found["robustness"] is not None:
            charts |= {f"{name}-{number}": chart for name, chart in _robustness(found["robustness"], report).items()}
    return {"charts": charts, "sites": []}


def _predicted(frontier: Report | None) -> dict[str, Any] | None:
    if frontier is None:
        return None
    points = [_point(100 * point["share"], point["damage"], f"keep {point['keep']:g}") for point in frontier["points"]]
    chosen = [point["keep"] == frontier["keep"] for point in frontier["points"]]
    return {
        "kind": "frontier",
        "x": f"% of {frontier['of']} that stays",
        "y": "predicted output error",
        "series": [{"name": "predicted", "line": True, "points": points}],
        "chosen": [point for point, own in zip(points, chosen, strict=True) if own],
        "limit": None,
    }


def _searched(search: Report) -> dict[str, Any]:
    def graded(stage: Report) -> list[dict[str, Any]]:
        return [
            _point(point["bytes"] / 1e6, point["drop_points"], f"keep {point['keep']:g}", point["drop_interval"])
            for point in sorted(stage["points"], key=lambda point: float(point["bytes"]))
        ]

    passed, named = [point for point in search["gate"]["points"] if point["passed"]], search["primary_metric"]
    return {
        "kind": "frontier",
        "x": "MB on disk",
        "y": f"{worsening_of(named)} of {named} in {unit_of(named)}",
        "series": [
            {
                "name": f"{stage} ({search[stage]['split']})",
                "line": stage == "selection",
                "points": graded(search[stage]),
            }
            for stage in ("selection", "gate")
        ],
        "chosen": graded({"points": passed}),
        "limit": search["max_drop"],
    }


def _point(x: float, y: float, label: str, interval: Sequence[float] | None = None) -> dict[str, Any]:
    return {"x": x, "y": y, "label": label, "interval": None if interval is None else list(interval)}


def _map(
    sites: Sequence[Report], shares: Sequence[float], labels: Sequence[str], what: str, top: float
) -> dict[str, Any]:
    """Return a heat map of layers × roles from 0 to ``top``; sites that share a cell (of no layer) are averaged in it."""
    roles = sorted({site["role"] for site in sites}, key=_order_of_role)
    layers = sorted({site["layer"] for site in sites}, key=lambda layer: (layer is None, layer))
    cells: dict[tuple[int, int], list[int]] = {}
    for index, site in enumerate(sites):
        cells.setdefault((roles.index(site["role"]), layers.index(site["layer"])), []).append(index)
    return {
        "kind": "map",
        "roles": [role.replace("_", " ") for role in roles],
        "layers": [NO_LAYER if layer is None else f"layer {layer}" for layer in layers],
        "what": what,
        "top": top,
        "cells": [
            {
                "place": place,
                "share": sum(shares[index] for index in found) / len(found),
                "label": labels[found[0]] if len(found) == 1 else f"{len(found)} sites",
                "site": found[0],
            }
            for place, found in cells.items()
        ],
    }


def _order_of_role(role: str) -> int:
    roles: list[str] = [str(known) for known in Role]
    return roles.index(role) if role in roles else len(roles)


def _kept_label(site: Report) -> str:
    if site["treatment"] == "removed":
        return "gone with its sublayer"
    if site["treatment"] == "sliced":
        return "{} × {}".format(*site["kept_shape"])
    return "dense" if site["rank"] is None else f"rank {site['rank']}"


def _optimized_site(site: Report, method: str) -> dict[str, Any]:
    spectrum = site["spectrum"]
    kept = [
        ("Treatment", f"{site['treatment']}, {_kept_label(site)}"),
        ("Parameters", f"{site['kept_parameters']:,} of {site['shape'][0] * site['shape'][1]:,}"),
        ("Relative error", f"{site['relative_error']:.4f}"),
        ("Energy kept", f"{100 * spectrum['energy_kept']:.1f} %, as {method} sees the weight"),
        ("Why", site["reason"]),
    ]
    marks = [] if spectrum["cut"] is None else [{"name": f"{_kept_label(site)} ends here", "at": spectrum["cut"]}]
    curve = {"points": list(zip(spectrum["energy_curve"]["ranks"], spectrum["energy_curve"]["energy"], strict=True))}
    return _site(site, kept, marks) | {"curve": curve | {"rank": site["rank"], "method": method}}


def _site(
    site: Report, facts: Iterable[tuple[str, str]] = (), marks: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    spectrum = site["spectrum"]
    about = [
        ("Role", site["role"].replace("_", " ") + ("" if site["layer"] is None else f", layer {site['layer']}")),
        ("Shape", "{} × {}".format(*site["shape"])),
        ("Signal rank", f"{spectrum['signal_rank']} of {min(site['shape'])}"),
        ("Effective rank", f"{spectrum['effective_rank']:.1f}"),
        ("Noise σ", f"{spectrum['noise_sigma']:.3f}"),
        ("Distance from pure noise", f"KS {spectrum['ks_distance']:.3f}, p = {spectrum['ks_p_value']:.3f}"),
    ]
    return {
        "name": site["name"],
        "facts": [*about, *facts],
        "histogram": spectrum["histogram"],
        "edge": spectrum["tw_edge"],
        "marks": list(marks),
        "curve": None,
    }


def _drops(metrics: Report, primary: str, max_drop: float | None) -> dict[str, Any]:
    rows = [
        {"name": name.replace("_", " "), "value": metric["drop_points"], "interval": metric["drop_interval"]}
        for name, metric in metrics.items()
    ]
    unit = unit_of(primary)
    return {"kind": "drops", "x": f"{worsening_of(primary)} in {unit}", "unit": unit, "rows": rows, "limit": max_drop}


def _latency(latency: Report) -> dict[str, Any]:
    return _bars(
        "milliseconds",
        ["p50", "p95"],
        {side: [latency[side]["p50_ms"], latency[side]["p95_ms"]] for side in ("baseline", "candidate")},
    )


def _robustness(robustness: Report, report: Report) -> dict[str, Any]:
    likeness, perturbed = robustness["likeness"], robustness["perturbed"]
    measure = likeness["measure"].replace("_", " ")
    groups = [f"{group['low']:.2f} … {group['high']:.2f}" for group in likeness["groups"]]
    charts = {"likeness": _bars(measure, groups, {measure: [group["likeness"] for group in likeness["groups"]]})}
    if perturbed:
        names = [f"{score['perturbation'].replace('_', ' ')} {100 * score['level']:.0f} %" for score in perturbed]
        sides = {side: [score[side] for score in perturbed] for side in ("baseline", "candidate")}
        charts["perturbed"] = _bars(report["primary_metric"], names, sides)
    return charts


def _bars(y: str, groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    drawn = [{"name": name, "values": list(values)} for name, values in series.items()]
    return {"kind": "bars", "y": y, "groups": list(groups), "series": drawn}
