"""Scripts: which one a character is of, and which ones a language is written in.

The script of a letter, a mark or a digit is the first word of its name in Unicode (LATIN SMALL LETTER A). Punctuation, symbols,
blanks and the digits 0 to 9 are of none: all languages share them.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache

_OF_SCRIPT = {
    "LATIN": "af az bs ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nb nl nn no pl pt ro sk sl sq sv sw tl "
    "tr uz vi",
    "CYRILLIC": "be bg kk ky mk mn ru sr tg uk",
    "ARABIC": "ar fa ps sd ug ur",
    "DEVANAGARI": "hi mr ne sa",
    "HEBREW": "he yi",
    "GREEK": "el",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "ETHIOPIC": "am",
    "BENGALI": "as bn",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "MYANMAR": "my",
    "KHMER": "km",
    "HANGUL": "ko",
    "CJK": "ja zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "BOPOMOFO": "zh",
}

LANGUAGES = tuple(sorted({language for languages in _OF_SCRIPT.values() for language in languages.split()}))
"""Languages whose scripts are known, by their two letters (ISO 639-1)."""

_SAME = {"IDEOGRAPHIC": "CJK", "EXTENDED": "ARABIC"}
_SHARED = frozenset({"COMBINING", "MODIFIER", "VARIATION", "DIGIT"})
_BLANK_OR_DASH = re.compile(r"[ -]")

_LEAST = 0.01
"""Of the letters of a text: a script of fewer came in by names and quotations."""


def scripts_of_language(language: str) -> frozenset[str]:
    """Return the scripts that ``language``, one of `LANGUAGES`, is written in."""
    return frozenset(script for script, languages in _OF_SCRIPT.items() if language in languages.split())


@cache
def script_of(character: str) -> str | None:
    """Return the script of ``character``; None for what all languages share."""
    plain = unicodedata.normalize("NFKC", character)[:1] or character
    category = unicodedata.category(plain)
    if category[0] not in "LM" and category != "Nd":
        return None
    first = _BLANK_OR_DASH.split(unicodedata.name(plain, "UNNAMED"))[0]
    return None if first in _SHARED else _SAME.get(first, first)


def is_written_in(text: str, scripts: Collection[str]) -> bool:
    """Say whether ``text`` has no letter of another script."""
    return all(script is None or script in scripts for script in map(script_of, text))


def scripts_of_texts(texts: Iterable[str]) -> frozenset[str]:
    """Return the scripts of at least one letter in a hundred of ``texts``."""
    characters = Counter[str]()
    for text in texts:
        characters.update(text)
    letters = Counter[str]()
    for character, count in characters.items():
        if (script := script_of(character)) is not None:
            letters[script] += count
    return frozenset(script for script, count in letters.items() if count >= _LEAST * letters.total())
