"""What mkdocs does beside its plugins: a fence of ``math`` holds LaTeX, which becomes MathML, so that no script has to set it."""

import re
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(r"^```math\n(?P<latex>.*?)^```$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the formulas of a page; mkdocs calls this."""
    return _FORMULA.sub(lambda found: convert(" ".join(found["latex"].split()), display="block"), markdown)
