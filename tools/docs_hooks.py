"""What mkdocs does beside its plugins: fences of ``math`` become MathML, so that no script has to set them."""

import re
from typing import Any

from latex2mathml.converter import convert

_FENCE = re.compile(r"^```math\n(?P<latex>.*?)^```$", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the formulas of a page; mkdocs calls this."""
    return _FENCE.sub(lambda found: convert(" ".join(found["latex"].split()), display="block"), markdown)
