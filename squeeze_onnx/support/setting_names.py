"""Settings named in sentences, and what they are called where the sentence is read.

An error names a setting in backticks, ``give `calibration` a file``, or one that is false, ``leave it out with `refit=False```.
Python shows that as it is; a command line calls it by its flag, a recipe by its key.
"""

import re
from collections.abc import Callable

_NAMED = re.compile(r"`([a-z][a-z0-9_]*)(=False)?`")

Call = Callable[[str, bool], str | None]
"""Says what a setting is called, that is true or has a value, or false; None if it is not known here."""


def call_settings(sentence: str, call: Call) -> str:
    """Return ``sentence`` with every setting called as ``call`` says, and those that are not known as they stand."""
    return _NAMED.sub(lambda found: call(found[1], found[2] is None) or found[0], sentence)
