"""What mkdocs does beside its plugins: formulas become MathML, which no script has to set, and measured numbers are looked up.

A fence of ``math`` holds LaTeX. ``{{ minilm-l6 / whiten, keep 0.5 / candidate }}`` is the value of a key in a row of
models/minilm-l6/results/quality.json or soco.json, so that no page says what was measured once and is no longer so.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

MODELS = Path(__file__).resolve().parents[1] / "models"
KINDS = ("quality", "soco")

_FORMULA = re.compile(r"^```math\n(?P<latex>.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\{\{ (?P<model>[\w-]+) / (?P<row>[^/{}]+) / (?P<key>\w+) \}\}")

FORMS: Mapping[str, Callable[[Any], str]] = {
    "baseline": "{:.4f}".format,
    "agreement": lambda share: f"{100 * share:.1f} %",
    "candidate": "{:.4f}".format,
    "cosine_similarity": "{:.3f}".format,
    "mean_kl": "{:.3f}".format,
    "drop_points": "{:.2f}".format,
    "drop_interval": lambda bounds: " … ".join(f"{bound:.2f}" for bound in bounds),
}
"""Key → how its value is written."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace formulas and look-ups of a page; mkdocs calls this. A row that is not there stops the build with KeyError."""
    formulas_set = _FORMULA.sub(lambda found: convert(" ".join(found["latex"].split()), display="block"), markdown)
    return _NUMBER.sub(lambda found: measured(found["model"], found["row"], found["key"]), formulas_set)


def measured(model: str, row: str, key: str) -> str:
    """Return a measured number as it is written."""
    files = [MODELS / model / "results" / f"{kind}.json" for kind in KINDS]
    rows = reduce(or_, (json.loads(file.read_text(encoding="utf-8"))["rows"] for file in files if file.exists()))
    return FORMS[key](rows[row][key]).replace("-", "−")
