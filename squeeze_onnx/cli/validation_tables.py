"""The JSON of `validate` for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from squeeze_onnx.cli.console import plain_table, readable_bytes
from squeeze_onnx.cli.reading_lines import embedding_lines
from squeeze_onnx.cli.robustness_tables import robustness_tables

Report = Mapping[str, Any]


def print_validation(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print metrics (if a task was given), fidelity, latency, robustness (if asked for) and size, then the verdict."""
    tables = [fidelity_table(report), latency_table(report)]
    if report["task"] is not None:
        tables.insert(0, metrics_table(report))
    for table in (*tables, *robustness_tables(report)):
        console.print(table, end="\n\n")
    size = report["size"]
    console.print(
        f"Size: {readable_bytes(size['baseline_bytes'])} → {readable_bytes(size['candidate_bytes'])}, "
        f"{size['baseline_parameters'] / 1e6:.2f} M → {size['candidate_parameters'] / 1e6:.2f} M parameters"
    )
    embeddings = report["embedding"]
    lines = [list(embedding_lines(embeddings[side])) for side in ("baseline", "candidate")]
    for line in lines[0]:
        console.print(line)
    for line in lines[1] if lines[1] != lines[0] else ():
        console.print(f"Candidate: {line}")
    if verbose:
        data = report["data"]
        console.print(f"Tokens: {data['tokenizer']}, at most {data['max_tokens']} a sequence", style="dim")
        console.print(f"Head: {report['head']}", style="dim")
    console.print(verdict(report))


def metrics_table(report: Report) -> Table:
    """One row per metric and provider."""
    rows = ", ".join(f"{count} rows of {split}" for split, count in report["data"]["rows"].items())
    partial = " (the first rows only)" if report["data"]["partial"] else ""
    table = plain_table(
        f"{report['task']}: {rows}{partial}",
        ["provider", "metric"],
        ["baseline", "candidate", "drop in points", "95 % interval"],
    )
    for provider, entry in report["providers"].items():
        for name, metric in entry["metrics"].items():
            table.add_row(
                provider,
                f"{name} *" if name == report["primary_metric"] else name,
                f"{metric['baseline']:.4f}",
                f"{metric['candidate']:.4f}",
                f"{metric['drop_points']:+.2f}",
                _interval(metric["drop_interval"], "+.2f"),
            )
    return table


def fidelity_table(report: Report) -> Table:
    """One row per provider: how like the baseline the candidate answers."""
    table = plain_table(
        f"Likeness of the answers ({report['head'].replace('_', ' ')})",
        ["provider"],
        ["cosine", "largest difference", "equal predictions", "KL in nats"],
    )
    for provider, entry in report["providers"].items():
        table.add_row(
            provider,
            f"{entry['cosine_similarity']:.4f}",
            f"{entry['max_abs_diff']:.2e}",
            "–" if entry["agreement"] is None else f"{100 * entry['agreement']:.1f} %",
            "–" if entry["mean_kl"] is None else f"{entry['mean_kl']:.2e}",
        )
    return table


def latency_table(report: Report) -> Table:
    """One row per provider: p50 and p95 of single runs."""
    tokens = next(iter(report["latency"].values()))["tokens"]
    table = plain_table(
        f"Latency in ms, one sequence of {tokens} tokens",
        ["provider"],
        ["baseline p50", "p95", "candidate p50", "p95", "speed-up", "95 % interval"],
    )
    for provider, entry in report["latency"].items():
        sides = (entry["baseline"], entry["candidate"])
        table.add_row(
            provider,
            *(f"{side[quantile]:.2f}" for side in sides for quantile in ("p50_ms", "p95_ms")),
            f"{entry['speedup']:.2f}×",
            _interval(entry["speedup_interval"], ".2f"),
        )
    return table


def verdict(report: Report) -> Text:
    """Say whether the gate passed, or what the drop is if there was none."""
    if report["task"] is None:
        return Text("No task was given, so nothing was scored: add --task NAME --data DIR.")
    drops = {provider: entry["drop_points"] for provider, entry in report["providers"].items()}
    worst = max(drops, key=lambda provider: drops[provider])
    verb = "rises" if drops[worst] < 0 else "drops"
    drop = f"{report['primary_metric']} {verb} by {abs(drops[worst]):.2f} points ({worst})"
    if report["max_drop"] is None:
        return Text(f"* {drop}.")
    word = ("Passed", "green") if report["passed"] else ("Failed", "red")
    return Text.assemble(word, f": {drop}; a drop of {report['max_drop']:g} is allowed.")


def _interval(bounds: tuple[float, float], form: str) -> str:
    return f"{bounds[0]:{form}} … {bounds[1]:{form}}"
