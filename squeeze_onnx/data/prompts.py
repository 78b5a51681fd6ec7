"""The prompt that stands before every text: the default one of the repository, or the one that is asked for."""

from dataclasses import dataclass

from squeeze_onnx.data.repository import Repository
from squeeze_onnx.data.sentence_files import read_sentence_config
from squeeze_onnx.support.errors import RepositoryError


@dataclass(frozen=True)
class Prompt:
    """A text that stands before every other, and its name in config_sentence_transformers.json, if it has one."""

    text: str = ""
    name: str | None = None


_OF_QUERIES = ("query",)
_OF_DOCUMENTS = ("document", "passage", "corpus")
"""What sentence-transformers looks for, in this order, where it encodes queries and documents."""


def retrieval_prompts(repository: Repository | None, asked: str | None = None) -> tuple[str, str]:
    """Return what stands before queries and before documents; what is ``asked`` for, or the default one, before both."""
    if repository is None:
        return "", ""
    usual = read_prompt(repository, asked).text
    prompts = read_sentence_config(repository).prompts
    if asked is not None:
        return usual, usual
    query, document = (
        next((prompts[name] for name in names if name in prompts), usual) for names in (_OF_QUERIES, _OF_DOCUMENTS)
    )
    return query, document


def read_prompt(repository: Repository, asked: str | None = None) -> Prompt:
    """Return the prompt that ``asked`` names or is; without it the default of ``repository``, which may be none.

    Raises RepositoryError if the default is not among the prompts.
    """
    config = read_sentence_config(repository)
    if asked is not None:
        return Prompt(config.prompts[asked], asked) if asked in config.prompts else Prompt(asked)
    if config.default_prompt is None:
        return Prompt()
    if config.default_prompt not in config.prompts:
        raise RepositoryError(
            f"{config.path}: the default prompt {config.default_prompt!r} is none of {', '.join(config.prompts) or 'its prompts'}"
        )
    return Prompt(config.prompts[config.default_prompt], config.default_prompt)
