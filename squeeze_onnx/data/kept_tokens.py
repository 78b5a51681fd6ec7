"""Which tokens of a vocabulary stay: those that texts are cut into, or those of a script, and what other texts fall back to."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from squeeze_onnx.data.scripts import is_written_in
from squeeze_onnx.data.trimmed_tokenizer import TokenizerDocument

_AT_ONCE = 1024
"""Texts that are encoded at the same time."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A tokenizer, which truncates nothing, and the ``document`` of it."""

    tokenizer: Tokenizer
    document: TokenizerDocument

    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[int]]]:
        """Yield the tokens of each text, special ones among them, and their ids."""
        for start in range(0, len(texts), _AT_ONCE):
            for encoding in self.tokenizer.encode_batch(texts[start : start + _AT_ONCE]):
                yield encoding.tokens, encoding.ids

    def met(self, texts: Sequence[str]) -> set[int]:
        """Return the ids that ``texts`` are cut into."""
        return {number for _, ids in self.encoded(texts) for number in ids}

    def of_scripts(self, scripts: Collection[str]) -> set[int]:
        """Return the ids of the tokens that have no letter of another script than these."""
        surface = self.document.surface
        return {number for token, number in self.document.ids.items() if is_written_in(surface(token), scripts)}

    def characters(self, scripts: Collection[str]) -> set[int]:
        """Return the ids of single characters: of these scripts, in ASCII, and those that all languages share.

        Where characters stand for bytes, of all of them.
        """
        document = self.document
        if document.reads_bytes:
            return {number for token, number in document.ids.items() if len(token) == 1}
        alone = ((document.surface(token), number) for token, number in document.ids.items())
        return {number for text, number in alone if len(text) == 1 and (text.isascii() or is_written_in(text, scripts))}

    def within(self, texts: Sequence[str]) -> set[int]:
        """Return the ids of all tokens that stand anywhere in ``texts``: with these they are cut as with all there are."""
        tokenizer, ids = self.tokenizer, self.document.ids
        longest = max(map(len, ids))
        beginnings = ("", *{prefix for prefix in (self.document.model.get("continuing_subword_prefix"),) if prefix})
        endings = ("", *{suffix for suffix in (self.document.model.get("end_of_word_suffix"),) if suffix})
        words = set()
        for text in texts:
            plain = text if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str(text)
            cut = (
                [(plain, None)] if tokenizer.pre_tokenizer is None else tokenizer.pre_tokenizer.pre_tokenize_str(plain)
            )
            words |= {word for word, _ in cut}
        parts = {word[start:end] for word in words for start, end in _spans(len(word), longest)}
        forms = (f"{before}{part}{after}" for part in parts for before in beginnings for after in endings)
        return {ids[form] for form in forms if form in ids}


def _spans(length: int, longest: int) -> Iterator[tuple[int, int]]:
    for start in range(length):
        for end in range(start + 1, min(start + longest, length) + 1):
            yield start, end
