"""How MODEL was read: which file and folder, and what its embeddings are made by; what was guessed is said."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.graph.io.locate import MODEL_FILE
from squeeze_onnx.report.counted import what_was_read
from squeeze_onnx.support.given_names import in_words
from squeeze_onnx.support.readable import readable_bytes

_POOLING = {
    "cls": "the first token",
    "max": "the maximum over the tokens",
    "mean": "the mean of the tokens",
    "mean_sqrt_len_tokens": "the sum of the tokens over the root of their number",
    "weightedmean": "the mean of the tokens weighted by position",
    "lasttoken": "the last token",
}


def repository_line(model: Path) -> str | None:
    """Say which file MODEL means, and where its tokenizer and configuration lie; None where both are plain to see."""
    found = find_repository(model)
    chosen = model.is_dir() and found.model_path != model / MODEL_FILE
    apart = found.model_path.parent.absolute() != found.root.absolute()
    if not chosen and not apart:
        return None
    return in_words(f"Read: {found.model_path}" + (f", with what lies in {found.root}" if apart else ""))


def enough_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Say how much text was read where that was found out."""
    entry = report["calibration"]
    if entry is None or entry["tokens_needed"] is None:
        return
    learned = "" if entry["rows_weighed"] == entry["rows"] else f", learned on {entry['rows']:,}"
    needed = f"the choice of ranks needs {entry['tokens_needed']:,} tokens"
    yield f"Calibrated on {entry['rows_weighed']:,} {what_was_read(report)}{learned}: {needed}"


def embedding_lines(entry: Mapping[str, Any] | None) -> Iterator[str]:
    """Say what an embedding is made by, from the ``embedding`` of a report; nothing for a model without embeddings."""
    if entry is None:
        return
    steps = (
        ["as the graph returns it"]
        if entry["in_graph"]
        else [" and ".join(_POOLING[name] for name in entry["pooling"])]
    )
    if (stored := entry["stored"]) is not None:
        steps.append(f"{stored['dimensions']} dimensions in {stored['type']}, {stored['bytes']} bytes each")
    steps += [_module(module) for module in entry["modules"]]
    if entry["dimensions"] is not None:
        steps.append(f"the first {entry['dimensions']} dimensions")
    if entry["prompt"]:
        pooled = "" if entry["include_prompt"] else ", which is not pooled"
        steps.append(f"behind the prompt {entry['prompt']!r}{pooled}")
    if entry["source"] is None:
        steps.append("assumed: no file beside the model says how tokens are pooled, --pooling does")
    yield f"Embedding: {', '.join(steps)}"
    if not entry["prompt"] and entry["prompts"]:
        yield (
            f"Prompts: none is read, for the files make none the default; --prompt takes one of {', '.join(entry['prompts'])}"
        )


def cache_size_line(entry: Mapping[str, Any]) -> str:
    """Say what the cache of a decoder takes for a token, from the ``cache`` of an analysis."""
    sizes = " and ".join(map(str, entry["head_sizes"]))
    return f"Cache of keys and values: {readable_bytes(entry['bytes_per_token'])} a token, heads of {sizes}"


def cache_line(entry: Mapping[str, Any]) -> str:
    """Say what the cache of a decoder takes for a token, before and after."""
    taken, sizes = entry["bytes_per_token"], entry["head_sizes"]
    if taken["before"] == taken["after"]:
        return f"Cache of keys and values: {readable_bytes(taken['before'])} a token, as before"
    before, after = (" and ".join(map(str, sizes[when])) for when in ("before", "after"))
    said = f", so told in {' and '.join(entry['files'])}" if entry["files"] else ""
    return (
        f"Cache of keys and values: {readable_bytes(taken['before'])} → {readable_bytes(taken['after'])} a token, heads of "
        f"{before} → {after}{said}"
    )


def stored_line(entry: Mapping[str, Any]) -> str:
    """Say which output is made to be stored, in how many bytes, and how like the dense model's its embeddings are."""
    size, difference, correlation = entry["bytes"], entry["pair_difference"], entry["pair_correlation"]
    text = "held-back" if entry["held_back"] else "calibration"
    stored = f"{entry['dimensions']} of {entry['of_dimensions']} dimensions in {entry['type']} ({entry['map']})"
    return (
        f"Stored embedding: output {entry['output']}, {stored}, {size['before']:,} → {size['after']:,} bytes each; cosines of "
        f"pairs of {text} texts are {difference['after']:.3f} from the dense model's ({difference['before']:.3f} without it), "
        f"their ranks correlate by {correlation['after']:.3f} ({correlation['before']:.3f})"
    )


def _module(module: Mapping[str, Any]) -> str:
    if module["type"] == "Dense":
        return f"Dense {module['in_features']} → {module['out_features']} with {module['activation']}"
    return {"Normalize": "normalized", "LayerNorm": "LayerNorm"}[module["type"]]


def tokens_line(tokens: Mapping[str, Any]) -> str:
    """Say in a line which part of the tokens goes on behind which layers."""
    steps = ", ".join(f"{step['rate']:.0%} behind layer {step['layer']}" for step in tokens["layers"])
    return f"Tokens: {tokens['share']:.0%} of the multiplications with weights of layers stay ({steps or 'all go through'})"
