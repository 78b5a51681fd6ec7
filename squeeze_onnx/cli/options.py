"""Options that several commands share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


def fraction(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Turn an option such as 0.5 into a number; per cent are told what to write instead."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError as error:
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip())
        hint = f"; did you mean {float(percent[1]) / 100:g}?" if percent else ""
        raise click.BadParameter(f"{value!r} is not a valid float{hint}") from error


SCHEDULER = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Work on the Dask workers of tcp://host:8786 or of a scheduler file, or on local:N processes of this machine.",
)

COLUMNS = click.option(
    "--columns",
    metavar="text=NAME,…",
    help="Columns of a table: text=NAME, text2=NAME of a pair, label=NAME [default: found by common names].",
)

METRIC = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Of own data, once or several, the first one counts: accuracy, f1, f1_macro, f1_micro, matthews, labels_f1, "
    "labels_f1_macro, labels_accuracy, pearson, spearman, entity_f1, exact_match, span_f1, ndcg@10, mrr@10, recall@100, "
    "perplexity or pseudo_perplexity [default: as labels are].",
)

JUNIT = click.option(
    "--junit", "junit_path", type=PATH, metavar="FILE", help="Write the gates as JUnit XML, for a CI server."
)


def apply(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order they are shown."""

    def decorate(command: F) -> F:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def number_or_word(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Turn an option that is a whole number into one, and leave words."""
    return int(value) if value is not None and re.fullmatch(r"[+-]?\d+", value) else value


def floors_by_role(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Turn ``F`` and ``ROLE=F`` into floors by role; raises OptionError for anything else."""
    from squeeze_onnx.compress.config import ALL_ROLES
    from squeeze_onnx.support.errors import OptionError

    floors: dict[str, float] = {}
    for value in values:
        *role, share = value.rsplit("=", 1)
        key = role[0] if role else ALL_ROLES
        if key in floors:
            raise OptionError(f"--floor {value}: the floor of {key} was given before; leave one of them out")
        try:
            floors[key] = float(share)
        except ValueError as error:
            raise OptionError(f"--floor is a float from 0 to 1, alone or as ROLE=F; got {value!r}") from error
    return floors


text_options: Callable[[F], F] = apply(
    click.option(
        "--max-length",
        "max_tokens",
        type=int,
        metavar="N",
        help="Tokens a sequence is cut to [default: as the files of sentence-transformers say, or else 128].",
    ),
    click.option("--tokenizer", type=PATH, metavar="PATH", help="A tokenizer.json, or a folder with one."),
)
"""How texts become tokens."""

embedding_options: Callable[[F], F] = apply(
    click.option(
        "--pooling",
        metavar="NAME",
        help="How tokens become an embedding, where no 1_Pooling/config.json says it: cls, mean, max, mean_sqrt_len_tokens, "
        "weightedmean, lasttoken, several joined by +, or none: each token has its own (ColBERT) [default: mean].",
    ),
    click.option(
        "--prompt",
        metavar="TEXT",
        help="What stands before every text, or its name in config_sentence_transformers.json [default: the default one there].",
    ),
)
"""What an embedding is."""

ANSWER: Callable[[F], F] = click.option(
    "--answer",
    metavar="NAME",
    help="The output that is the answer, where MODEL has several [default: logits, or embeddings, by names and shapes].",
)

reading_options: Callable[[F], F] = apply(
    click.option(
        "--dequantize",
        is_flag=True,
        help="Turn integer weights, as ONNX Runtime's quantizers write them, into floats first; --precision rounds again.",
    ),
    click.option(
        "--freeze-inputs", is_flag=True, help="Make constants of weights that a caller could pass as graph inputs."
    ),
)
"""What MODEL is taken as."""

spectrum_options: Callable[[F], F] = apply(
    click.option(
        "--noise", default="entries", show_default=True, metavar="NAME", help="Noise level σ: entries, median or bulk."
    ),
    click.option("--probability", default=0.95, show_default=True, help="Tracy–Widom quantile of the noise edge."),
    click.option(
        "--include", multiple=True, metavar="ROLE", help="Take in a role: embedding, pooler, classifier, other."
    ),
    click.option("--exclude", multiple=True, metavar="ROLE|NAME", help="Leave out a role or one site."),
    click.option("--seed", default=0, show_default=True, help="Seed of all random numbers."),
)
"""How spectra are judged and which sites count."""
