"""Reading what the embedding of a text is from the files of sentence-transformers beside the model.

modules.json names the modules in order: the encoder, `Pooling` (its config.json in the forms of versions 1 to 6), then those of
`squeeze_onnx.data.embedding_modules`. config_sentence_transformers.json has prompts and how many dimensions count.
"""

from dataclasses import dataclass
from pathlib import Path

from squeeze_onnx.data.companions import POOLING_FILE
from squeeze_onnx.data.embedding import Embedding, Pooling
from squeeze_onnx.data.embedding_modules import read_modules, unknown_module
from squeeze_onnx.data.json_files import read_json_object
from squeeze_onnx.data.prompts import Prompt, read_prompt
from squeeze_onnx.data.repository import CONFIG_FILE, MODULES_FILE, Repository
from squeeze_onnx.data.sentence_files import read_sentence_config, read_text_limits
from squeeze_onnx.data.tokenizer_files import load_tokenizer, lower_cased, tokenizer_place
from squeeze_onnx.support.errors import OptionError, RepositoryError

POOLING_FLAGS = {
    "pooling_mode_cls_token": Pooling.CLS,
    "pooling_mode_max_tokens": Pooling.MAX,
    "pooling_mode_mean_tokens": Pooling.MEAN,
    "pooling_mode_mean_sqrt_len_tokens": Pooling.MEAN_SQRT_LENGTH,
    "pooling_mode_weightedmean_tokens": Pooling.WEIGHTED_MEAN,
    "pooling_mode_lasttoken": Pooling.LAST,
}
"""Up to version 5 each way of pooling had a flag of its own; several are joined in this order."""

UNPOOLED = "none"
"""What ``pooling`` says of models whose answer is a vector for every token, as ColBERT's is."""


@dataclass(frozen=True)
class EmbeddingOptions:
    """What ``pooling``, ``prompt`` and ``answer`` say.

    Ways of pooling joined by ``+``, or `UNPOOLED`; a prompt or the name of one; the name of the output that is the answer.
    """

    pooling: str | None = None
    prompt: str | None = None
    answer: str | None = None

    def __post_init__(self) -> None:
        if self.pooling is not None and self.pooling != UNPOOLED:
            parse_pooling(self.pooling)

    @property
    def unpooled(self) -> bool:
        """Whether every token has an answer of its own."""
        return self.pooling == UNPOOLED


NOTHING_ASKED = EmbeddingOptions()


def parse_pooling(text: str) -> tuple[Pooling, ...]:
    """Return the ways of pooling that ``pooling`` names; raises OptionError for an unknown one."""
    names = text.split("+")
    for name in names:
        if name not in list(Pooling):
            raise OptionError(
                f"`pooling` is {UNPOOLED}, one of {', '.join(Pooling)}, or several joined by +; got {text!r}"
            )
    return tuple(Pooling(name) for name in names)


def tells_of_embeddings(repository: Repository) -> bool:
    """Say whether a file of ``repository`` says anything of embeddings: of pooling, modules or prompts."""
    return (
        bool(repository.modules)
        or (repository.root / POOLING_FILE).is_file()
        or read_sentence_config(repository).path is not None
    )


def read_embedding(repository: Repository, asked: EmbeddingOptions = NOTHING_ASKED) -> Embedding:
    """Return what the embedding of a text is, by the files of ``repository`` and, where they are silent, by ``asked``.

    Raises RepositoryError for files that cannot be followed, OptionError for a ``pooling`` that contradicts them.
    """
    pooling, source = _pooling(repository, asked)
    prompt, config = read_prompt(repository, asked.prompt), read_sentence_config(repository)
    left_out = asked.answer is not None and unknown_module(repository) is not None
    return Embedding(
        pooling=pooling.names,
        modules=() if left_out else read_modules(repository),
        dimensions=config.dimensions,
        prompt=prompt.text,
        include_prompt=pooling.include_prompt,
        prompt_tokens=_prompt_tokens(repository, prompt) if prompt.text and not pooling.include_prompt else 0,
        prompts=tuple(name for name, text in config.prompts.items() if text),
        source=source,
        similarity=config.similarity,
    )


@dataclass(frozen=True)
class _PoolingConfig:
    names: tuple[Pooling, ...]
    include_prompt: bool = True


def _pooling(repository: Repository, asked: EmbeddingOptions) -> tuple[_PoolingConfig, str | None]:
    path = _pooling_file(repository)
    wanted = None if asked.pooling is None or asked.unpooled else parse_pooling(asked.pooling)
    if path is None:
        if wanted is None:
            return _PoolingConfig((Pooling.MEAN,)), None
        return _PoolingConfig(wanted), "`pooling`"
    found = _read_pooling(path)
    if wanted not in (None, found.names):
        raise OptionError(
            f"{path} says that the pooling is {'+'.join(found.names)}, not {asked.pooling}: leave out `pooling`, or correct "
            "the file"
        )
    return found, path.relative_to(repository.root).as_posix()


def _pooling_file(repository: Repository) -> Path | None:
    folders = [module.folder for module in repository.modules[1:] if module.kind == "Pooling"]
    if len(folders) > 1:
        raise RepositoryError(f"{repository.root / MODULES_FILE} names two modules that pool: correct it")
    if folders:
        path = repository.root / folders[0] / CONFIG_FILE
        if not path.is_file():
            raise RepositoryError(f"{path} is missing, and {repository.root / MODULES_FILE} names it: get it too")
        return path
    path = repository.root / POOLING_FILE
    return path if path.is_file() and not repository.modules else None


def _read_pooling(path: Path) -> _PoolingConfig:
    values = read_json_object(path, RepositoryError)
    include_prompt = values.get("include_prompt", True)
    if "pooling_mode" in values:
        given = values["pooling_mode"]
        names = [given] if isinstance(given, str) else given
    else:
        names = [str(name) for flag, name in POOLING_FLAGS.items() if values.get(flag)] or [str(Pooling.MEAN)]
    if not isinstance(names, list) or not names or any(name not in list(Pooling) for name in names):
        raise RepositoryError(
            f"{path}: pooling_mode is {values.get('pooling_mode')!r}, not one of {', '.join(Pooling)}"
        )
    return _PoolingConfig(tuple(Pooling(name) for name in names), bool(include_prompt))


def _prompt_tokens(repository: Repository, prompt: Prompt) -> int:
    """Return how many tokens the prompt has, those that the tokenizer puts before it included."""
    tokenizer, _ = load_tokenizer(tokenizer_place(repository))
    if read_text_limits(repository).lower_case:
        lower_cased(tokenizer)
    tokenizer.no_padding()
    encoding = tokenizer.encode(prompt.text)
    return len(encoding.ids) - int(bool(encoding.special_tokens_mask[-1]))
