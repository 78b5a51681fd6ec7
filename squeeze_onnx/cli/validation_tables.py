"""The JSON of `validate` for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from squeeze_onnx.cli.console import plain_table
from squeeze_onnx.cli.reading_lines import embedding_lines
from squeeze_onnx.cli.robustness_tables import robustness_tables
from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.headers import how_known
from squeeze_onnx.evaluate.metrics import cannot_tell, change_of, unit_of, worsening_of
from squeeze_onnx.support.readable import readable_bytes

Report = Mapping[str, Any]


def print_validation(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print metrics (if a task was given), fidelity, latency, robustness (if asked for) and size, then the verdict."""
    tables = [fidelity_table(report), latency_table(report)]
    if report["task"] is not None:
        tables.insert(0, metrics_table(report))
    for table in (*tables, *robustness_tables(report)):
        console.print(table, end="\n\n")
    for line in pair_lines(report):
        console.print(line, end="\n\n")
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
        if data["tokenizer"] is not None:
            console.print(f"Tokens: {data['tokenizer']}, at most {data['max_tokens']} a sequence", style="dim")
        console.print(f"Head: {report['head']}", style="dim")
    for line in remarks(report):
        console.print(line)
    console.print(verdict(report))


def remarks(report: Report) -> Iterator[str]:
    """Say what own data was read as, and what there is to doubt of the baseline's score."""
    data = report["data"]
    if data["columns"] is not None:
        columns = Columns(**data["columns"])
        how = how_known(columns, guessed=data["columns_guessed"])
        yield f"{data['file']} was read as {data['read_as']}: {columns} ({how})"
    elif data["file"] not in (None, data["source"]):
        yield f"{data['file']} was read as {data['read_as']}"
    if data["not_scored"] is not None:
        yield f"Its labels are not scored: {data['not_scored']}"
    if data["positive"] is not None:
        yield f"f1 is of the class {data['positive']}"
    for provider, entry in report["providers"].items():
        if (sanity := entry["sanity"]) is not None and sanity["doubt"] is not None:
            yield f"The baseline is to be doubted on {provider}: {sanity['doubt']}"
            if sanity["adopted"]:
                yield "The metrics are those of that order, for no name of its classes says which is right."


def metrics_table(report: Report) -> Table:
    """One row per metric and provider."""
    rows = ", ".join(f"{count} rows of {split}" for split, count in report["data"]["rows"].items())
    partial = " (the first rows only)" if report["data"]["partial"] else ""
    named = report["primary_metric"]
    table = plain_table(
        f"{report['task']}: {rows}{partial}",
        ["provider", "metric"],
        ["baseline", "candidate", f"{worsening_of(named)} in {unit_of(named)}", "95 % interval"],
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
            "–" if entry["cosine_similarity"] is None else f"{entry['cosine_similarity']:.4f}",
            f"{entry['max_abs_diff']:.2e}",
            "–" if entry["agreement"] is None else f"{100 * entry['agreement']:.1f} %",
            "–" if entry["mean_kl"] is None else f"{entry['mean_kl']:.2e}",
        )
    return table


def pair_lines(report: Report) -> Iterator[str]:
    """Say how alike pairs of texts are by both models, where embeddings have axes of their own."""
    for provider, entry in report["providers"].items():
        if entry["pair_difference"] is not None:
            yield (
                "The candidate's embeddings have axes of their own: cosines of pairs differ by "
                f"{entry['pair_difference']:.4f} in the mean, their ranks correlate by {entry['pair_correlation']:.4f} "
                f"({provider})"
            )


def latency_table(report: Report) -> Table:
    """One row per provider: p50 and p95 of single runs."""
    tokens = next(iter(report["latency"].values()))["tokens"]
    single = "sample" if _of_samples(report["data"]) else f"sequence of {tokens} tokens"
    table = plain_table(
        f"Latency in ms, one {single}",
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


def _why_nothing(data: Mapping[str, Any]) -> str:
    """Say how rows would be scored, unless it was said why those of ``data`` are not."""
    if data["not_scored"] is not None:
        return ""
    if _of_samples(data):
        return ": saved inputs have no labels"
    if data["columns"] is not None:
        return f": no column of {data['file']} is known to hold labels; --columns text=NAME,label=NAME names one"
    return ": add --task NAME --data DIR, or --data FILE with labels"


def _of_samples(data: Mapping[str, Any]) -> bool:
    """Whether inputs were saved, and no texts read."""
    return "samples" in data["rows"]


def verdict(report: Report) -> Text:
    """Say whether the gate passed, or what the drop is if there was none."""
    if report["task"] is None:
        return Text(f"Nothing was scored{_why_nothing(report['data'])}.")
    drops = {provider: entry["drop_points"] for provider, entry in report["providers"].items()}
    worst = max(drops, key=lambda provider: drops[provider])
    drop = f"{report['primary_metric']} {change_of(report['primary_metric'], drops[worst])} ({worst})"
    if report["max_drop"] is None:
        return Text(f"* {drop}.")
    word = ("Passed", "green") if report["passed"] else ("Failed", "red")
    interval, allowed = report["providers"][worst]["drop_interval"], f"{report['max_drop']:g} is allowed"
    if cannot_tell(interval, report["max_drop"]):
        allowed += (
            f", which lies within the 95 % interval of the drop, {_interval(interval, '+.2f')}: more rows would tell"
        )
    return Text.assemble(word, f": {drop}; {allowed}.")


def _interval(bounds: tuple[float, float], form: str) -> str:
    return f"{bounds[0]:{form}} … {bounds[1]:{form}}"
