"""The sentences of the package: there, each once, and of a number that estimates something."""

import pytest

from squeeze_onnx.data.general_text import LANGUAGES, general_source, general_texts
from squeeze_onnx.support.errors import OptionError


def test_every_language_has_sentences_and_none_stands_twice() -> None:
    everything = general_texts("all")
    assert len(set(everything)) == len(everything) == sum(len(general_texts(language)) for language in LANGUAGES)
    assert min(len(general_texts(language)) for language in LANGUAGES) >= 10
    assert sum(len(text.split()) for (text,) in general_texts("en")) > 2000
    assert all(text.strip() == text != "" for (text,) in everything)


@pytest.mark.parametrize(
    ("vocabulary", "source"), [(None, "general:en"), (30_522, "general:en"), (250_002, "general:all")]
)
def test_models_of_many_languages_get_many(vocabulary: int | None, source: str) -> None:
    assert general_source(vocabulary) == source


def test_a_language_that_is_not_there_is_refused() -> None:
    with pytest.raises(OptionError, match=r"there are general sentences of all, en, .*did you mean"):
        general_texts("eng")
