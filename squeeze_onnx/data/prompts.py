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
