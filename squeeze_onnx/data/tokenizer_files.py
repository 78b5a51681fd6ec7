"""A tokenizer from the files that a repository has of it: tokenizer.json, or else the vocabulary of WordPiece."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.repository import CONFIG_FILE, SETTINGS_FILE, Repository
from squeeze_onnx.support.errors import TokenizerError
from squeeze_onnx.support.git_lfs import refuse_pointer

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.txt"

_WAY_OUT = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes a tokenizer.json"
_SENTENCE_PIECE = ("*.model", "*.spm")
_OTHER_FILES = ("vocab.json", "merges.txt", "*.tiktoken")


@dataclass(frozen=True)
class _Template:
    """The tokens around one text and between two, and their kinds."""

    single: str
    pair: str


_BERT = _Template("{cls} $A {sep}", "{cls} $A {sep} $B:1 {sep}:1")
_MPNET = _Template("{cls} $A {sep}", "{cls} $A {sep} {sep} $B {sep}")

_WORD_PIECE = {"bert": _BERT, "distilbert": _BERT, "electra": _BERT, "mobilebert": _BERT, "mpnet": _MPNET}
"""Model types whose vocab.txt is one of WordPiece; `tokenizer_class` begins with the same name."""

_SPECIAL = {
    "bert": {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"},
    "mpnet": {"unk": "[UNK]", "sep": "</s>", "pad": "<pad>", "cls": "<s>", "mask": "<mask>"},
}


def tokenizer_place(repository: Repository) -> Path:
    """Return the folder of ``repository`` in which its tokenizer lies, that of the encoder if there is none."""
    for name in (TOKENIZER_FILE, VOCABULARY_FILE):
        path = repository.find(name)
        if path is not None:
            return path.parent
    return repository.folders[0]


def has_tokenizer(folder: Path) -> bool:
    """Say whether a tokenizer, or the vocabulary of one, lies in ``folder``."""
    return any((folder / name).is_file() for name in (TOKENIZER_FILE, VOCABULARY_FILE))


def load_tokenizer(source: Path) -> tuple[Tokenizer, Path]:
    """Return the tokenizer of ``source``, a tokenizer.json or a folder, and the file it comes from.

    Raises TokenizerError, which names the way out, for what is missing, broken or of another kind.
    """
    if not source.is_dir():
        return _read(source), source
    if (source / TOKENIZER_FILE).is_file():
        return _read(source / TOKENIZER_FILE), source / TOKENIZER_FILE
    kind = _kind(source)
    if (source / VOCABULARY_FILE).is_file() and kind in _WORD_PIECE:
        return _word_piece(source, kind), source / VOCABULARY_FILE
    raise TokenizerError(_missing(source))


def lower_cased(tokenizer: Tokenizer) -> bool:
    """Make ``tokenizer``, which changes in place, read text in lower case; say whether it did not before."""
    if '"Lowercase"' in _normalizer(tokenizer) or '"lowercase":true' in _normalizer(tokenizer):
        return False
    steps = [normalizers.Lowercase()]
    if tokenizer.normalizer is not None:
        steps.append(tokenizer.normalizer)
    tokenizer.normalizer = normalizers.Sequence(steps)
    return True


def read_settings(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json; empty without the file."""
    path = folder / SETTINGS_FILE
    return read_json_object(path) if path.is_file() else {}


def content_of(token: Any) -> str | None:
    """Return the text of a special token, which stands in settings by itself or as an object with its ``content``."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def _normalizer(tokenizer: Tokenizer) -> str:
    return json.dumps(json.loads(tokenizer.to_str())["normalizer"], separators=(",", ":"))


def _read(path: Path) -> Tokenizer:
    if not path.is_file():
        raise TokenizerError(f"{path} does not exist; name a tokenizer.json, or the folder of one, with `tokenizer`")
    refuse_pointer(path, TokenizerError)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers has no exception class of its own
        raise TokenizerError(f"{path} is not a tokenizer that `tokenizers` can read: {error}") from error


def _kind(folder: Path) -> str:
    """Return the model type that the tokenizer in ``folder`` is for, in lower case; "" if nothing says it."""
    named = read_settings(folder).get("tokenizer_class")
    if isinstance(named, str):
        return named.removesuffix("Fast").removesuffix("Tokenizer").lower()
    config = folder / CONFIG_FILE
    return str(read_json_object(config).get("model_type", "")) if config.is_file() else ""


def _missing(folder: Path) -> str:
    found = [path.name for pattern in (*_SENTENCE_PIECE, *_OTHER_FILES) for path in sorted(folder.glob(pattern))]
    if any(name.endswith((".model", ".spm")) for name in found):
        return f"{folder / TOKENIZER_FILE} does not exist, and {found[0]} is a SentencePiece model, which is not read: {_WAY_OUT}"
    if (folder / VOCABULARY_FILE).is_file():
        return (
            f"{folder / TOKENIZER_FILE} does not exist, and nothing says that {VOCABULARY_FILE} is of WordPiece (a "
            f"tokenizer_class or model_type of {', '.join(_WORD_PIECE)}): {_WAY_OUT}"
        )
    if found:
        return f"{folder / TOKENIZER_FILE} does not exist, and {' with '.join(found)} is not read: {_WAY_OUT}"
    return f"{folder / TOKENIZER_FILE} does not exist; name a tokenizer.json, or the folder of one, with `tokenizer`"


def _word_piece(folder: Path, kind: str) -> Tokenizer:
    """Build what transformers builds of vocab.txt and tokenizer_config.json."""
    path = folder / VOCABULARY_FILE
    refuse_pointer(path, TokenizerError)
    settings = read_settings(folder)
    tokens = _special(settings, kind)
    try:
        vocabulary = models.WordPiece.read_file(str(path))
    except Exception as error:
        raise TokenizerError(f"{path} is not a vocabulary of WordPiece: {error}") from error
    missing = [token for name, token in tokens.items() if name != "mask" and token not in vocabulary]
    if missing:
        raise TokenizerError(f"{path} has no token {missing[0]}, which every text needs: {_WAY_OUT}")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens["unk"]))
    tokenizer.add_special_tokens([token for token in tokens.values() if token in vocabulary])
    lower = bool(settings.get("do_lower_case", True))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=lower,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    template = _WORD_PIECE[kind]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template.single.format(**tokens),
        pair=template.pair.format(**tokens),
        special_tokens=[(tokens[name], vocabulary[tokens[name]]) for name in ("cls", "sep")],
    )
    return tokenizer


def _special(settings: Mapping[str, Any], kind: str) -> dict[str, str]:
    usual = _SPECIAL["mpnet" if kind == "mpnet" else "bert"]
    return {name: content_of(settings.get(f"{name}_token")) or token for name, token in usual.items()}
