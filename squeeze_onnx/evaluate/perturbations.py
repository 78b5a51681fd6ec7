"""Small, seeded changes of text: what a hurried writer does to characters and words.

Each maps a text, the chance that a place is changed, and a generator to another text. Characters change inside words only, and at
least one word stays.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from squeeze_onnx.data.readers import Texts

Perturbation = Callable[[str, float, np.random.Generator], str]

LEVELS = (0.05, 0.1, 0.2)
"""The chances that are tried."""


def swap_characters(text: str, chance: float, rng: np.random.Generator) -> str:
    """Exchange neighbours in a word: ``word`` → ``wrod``; no character moves twice."""
    characters = list(text)
    places = iter(range(len(characters) - 1))
    for place in places:
        inside = not (characters[place].isspace() or characters[place + 1].isspace())
        if inside and rng.random() < chance:
            characters[place : place + 2] = characters[place + 1], characters[place]
            next(places, None)
    return "".join(characters)


def delete_characters(text: str, chance: float, rng: np.random.Generator) -> str:
    """Leave characters out: ``word`` → ``wrd``; the first one of a word stays."""
    before = " " + text
    return "".join(
        character
        for previous, character in zip(before, text, strict=False)
        if previous.isspace() or character.isspace() or rng.random() >= chance
    )


def duplicate_characters(text: str, chance: float, rng: np.random.Generator) -> str:
    """Write characters twice: ``word`` → ``worrd``."""
    return "".join(character * (1 + (not character.isspace() and rng.random() < chance)) for character in text)


def drop_words(text: str, chance: float, rng: np.random.Generator) -> str:
    """Leave words out, but not all: the first one stays if none would."""
    words = text.split()
    kept = [word for word in words if rng.random() >= chance]
    return " ".join(kept or words[:1])


def swap_words(text: str, chance: float, rng: np.random.Generator) -> str:
    """Exchange neighbouring words; no word moves twice."""
    words = text.split()
    places = iter(range(len(words) - 1))
    for place in places:
        if rng.random() < chance:
            words[place : place + 2] = words[place + 1], words[place]
            next(places, None)
    return " ".join(words)


PERTURBATIONS: dict[str, Perturbation] = {
    "swap_characters": swap_characters,
    "delete_characters": delete_characters,
    "duplicate_characters": duplicate_characters,
    "drop_words": drop_words,
    "swap_words": swap_words,
}


def perturbed(rows: Sequence[Texts], name: str, chance: float, *, seed: int) -> tuple[Texts, ...]:
    """Change every text of ``rows`` by the perturbation ``name``; the same seed makes the same texts."""
    change, rng = PERTURBATIONS[name], np.random.default_rng([seed, zlib.crc32(name.encode())])
    return tuple(tuple(change(text, chance, rng) for text in texts) for texts in rows)
