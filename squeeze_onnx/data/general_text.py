"""Sentences of this package for those who have none of their own: everyday English, and a few of eleven other languages.

They were written for this package and are under its licence; they are of no test set.
"""

from importlib.resources import files

from squeeze_onnx.data.readers import Texts
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.suggestions import did_you_mean

GENERAL_PREFIX = "general:"

ALL = "all"
"""Every language there is."""

LANGUAGES = ("en", "ar", "de", "es", "fr", "it", "nl", "pl", "pt", "ru", "tr", "zh")

MULTILINGUAL_FROM = 60_000
"""Entries of a vocabulary from which on it is taken to be one of many languages: those of one have 20,000 to 50,000."""


def general_texts(which: str) -> list[Texts]:
    """Return the sentences of a language, by its two letters, or of ``all``; raises OptionError for one there are none of."""
    if which != ALL and which not in LANGUAGES:
        known = (ALL, *LANGUAGES)
        raise OptionError(
            f"`calibration` {GENERAL_PREFIX}{which}: there are general sentences of {', '.join(known)}"
            f"{did_you_mean(which, known)}"
        )
    folder = files("squeeze_onnx.data") / "general"
    wanted = LANGUAGES if which == ALL else (which,)
    lines = [(folder / f"{language}.txt").read_text(encoding="utf-8").splitlines() for language in wanted]
    return [(line,) for each in lines for line in each]


def general_source(vocabulary: int | None) -> str:
    """Return the source for a model whose vocabulary has so many entries, as far as that is known."""
    return f"{GENERAL_PREFIX}{ALL if (vocabulary or 0) >= MULTILINGUAL_FROM else LANGUAGES[0]}"
