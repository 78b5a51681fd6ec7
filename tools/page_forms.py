"""How a value of a row is written in a sentence."""

from collections.abc import Callable, Mapping
from typing import Any

from tools.rows import Row


def interval(bounds: tuple[float, float]) -> str:
    """Return both ends with two digits."""
    return " … ".join(f"{bound:.2f}" for bound in bounds)


def megabytes(size: float) -> str:
    """Return a size in MB (10⁶ bytes)."""
    return f"{size / 1e6:.1f} MB"


def percent(share: float) -> str:
    """Return a share with one digit."""
    return f"{100 * share:.1f} %"


def whole_percent(share: float) -> str:
    """Return a share without digits."""
    return f"{100 * share:.0f} %"


FORMS: Mapping[str, Callable[[Any], str]] = {
    "baseline": "{:.4f}".format,
    "candidate": "{:.4f}".format,
    "agreement": percent,
    "changed": percent,
    "cosine_similarity": "{:.3f}".format,
    "ffn_weight_cosine": "{:.2f}".format,
    "mean_kl": "{:.3f}".format,
    "drop_points": "{:.2f}".format,
    "drop_interval": interval,
    "mean": "{:.3f}".format,
    "loss": "{:.3f}".format,
    "optimized_bytes": megabytes,
    "baseline_bytes": megabytes,
    "candidate_bytes": megabytes,
    "bytes_without_tokenizer": megabytes,
    "saved": "{:.0f} %".format,
    "seconds": "{:.0f} s".format,
    "ratio": "{:.2f}".format,
    "ks_distance": "{:.2f}".format,
    "weight_lost": whole_percent,
    "output_lost": whole_percent,
    "start": "{:.3f}".format,
    "speedup": "{:.2f}".format,
    "factors": "{:.3f}".format,
    "pivoted": "{:.3f}".format,
}
"""The last part of a key → how its value is written."""

DERIVED: Mapping[str, Callable[[Row], Any]] = {
    "changed": lambda row: 1 - row.value("agreement"),
    "saved": lambda row: 100 * (1 - row.value("size.optimized_bytes") / row.value("size.baseline_bytes")),
    "seconds": lambda row: row.seconds,
    "start": lambda row: row.value("starts")[0],
}
"""Keys that are computed of a row → how."""


def form(row: Row, key: str) -> str:
    """Return the value of ``key`` as a sentence has it. Raises KeyError for a key that the row or this table does not have."""
    last = key.rsplit(".", maxsplit=1)[-1]
    if last not in FORMS:
        raise KeyError(f"tools.page_forms does not say how to write {key}")
    value = DERIVED[key](row) if key in DERIVED else row.value(key)
    return FORMS[last](value).replace("-", "−")
