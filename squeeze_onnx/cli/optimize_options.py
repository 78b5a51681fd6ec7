"""The options of ``squeeze-onnx optimize``."""

from collections.abc import Callable

import click

from squeeze_onnx.cli.options import (
    ANSWER,
    COLUMNS,
    METRIC,
    PATH,
    SCHEDULER,
    F,
    apply,
    embedding_options,
    floors_by_role,
    fraction,
    number_or_word,
    reading_options,
    spectrum_options,
    text_options,
)
from squeeze_onnx.compress.method_names import METHOD_HELP

optimize_options: Callable[[F], F] = apply(
    click.option("-o", "--output", "out", type=PATH, metavar="OUT", help="Folder to write; only --dry-run needs none."),
    click.option(
        "--method",
        default="auto",
        show_default=True,
        metavar="NAME",
        help=METHOD_HELP,
    ),
    click.option(
        "--max-size",
        metavar="SIZE",
        help="Bytes that model.onnx may have, as in 10MB: the best model that fits, in the precision that fits best.",
    ),
    click.option(
        "--effort",
        metavar="NAME",
        help="What a goal is worth: quick (minutes), balanced (tens of minutes) or best (an hour or more); chooses text, "
        "learning, precision and tables where they are not said [default: balanced with --max-size].",
    ),
    click.option("--dry-run", is_flag=True, help="Predict bytes, products and damage from the survey; write nothing."),
    click.option("--keep", callback=fraction, metavar="F", help="Fraction of the eligible parameters that stays."),
    click.option(
        "--objective",
        default="parameters",
        show_default=True,
        metavar="NAME",
        help="What --keep is a fraction of: parameters, or of the whole model its size or latency.",
    ),
    click.option(
        "--target-latency",
        callback=fraction,
        metavar="F",
        help="Short for --objective latency --keep F: measured on this machine.",
    ),
    click.option("--batch-size", default=1, show_default=True, help="Sequences that --objective latency times."),
    click.option("--sequence-length", default=128, show_default=True, help="Tokens of each of them."),
    click.option(
        "--threads",
        type=int,
        metavar="N",
        help="Threads of ONNX Runtime wherever a model is run or timed [default: its choice].",
    ),
    click.option(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="Search the smallest model whose task metric drops by at most this (1 point = 0.01; with --task, --data).",
    ),
    click.option(
        "--floor",
        multiple=True,
        callback=floors_by_role,
        metavar="[ROLE=]F",
        help="Least fraction of its own parameters that every weight, or one of this role, keeps.",
    ),
    click.option(
        "--keep-vocabulary",
        multiple=True,
        metavar="TEXT|LANGUAGE",
        help="Before all else, drop the tokens that no text of this file has, or that are not of the script of a language (de); "
        "tokenizer.json follows. Once or several; texts are as for --calibration.",
    ),
    click.option(
        "--keep-cache",
        type=float,
        metavar="F",
        help="At most this fraction of a decoder's cache of keys and values stays: their heads become thinner.",
    ),
    click.option("--preset", metavar="NAME", help="A regime of the SQUEEZE paper: paper-ffn or paper-size."),
    click.option("--plan", "plan_path", type=PATH, metavar="PLAN.json", help="Re-apply a plan, edited or not."),
    click.option(
        "--calibration",
        metavar="SRC",
        help="Text: a file (a sentence a line, JSON Lines, JSON, CSV, TSV, Parquet, CoNLL), glue:TASK (with --data), an .npz, or "
        "general:en, general:all: sentences of this package.",
    ),
    COLUMNS,
    click.option(
        "--task",
        metavar="NAME",
        help="Calibrate on the train split of this GLUE task in --data; the task of --max-drop.",
    ),
    click.option(
        "--data",
        metavar="DIR|FILE",
        help="With --task, GLUE splits: a folder, or a hub name. Without, rows of your own to calibrate on and for --max-drop.",
    ),
    METRIC,
    click.option(
        "--calibration-rows",
        type=int,
        metavar="N",
        help="Sentences or pairs to calibrate on [default: as many as the choice of ranks needs, 64 to 1024; with "
        "--output-dimensions 2048, with --distill or soco up to 8192].",
    ),
    text_options,
    embedding_options,
    ANSWER,
    click.option(
        "--above-break-even",
        default="leave",
        show_default=True,
        metavar="WHAT",
        help="A rank too high for factors to pay: leave the weight, or denoise it.",
    ),
    click.option(
        "--slice-neurons/--no-slice-neurons",
        default=True,
        help="Take whole neurons out of feed-forward blocks where that costs less [default: with --calibration].",
    ),
    click.option(
        "--thin-heads/--no-thin-heads",
        default=True,
        help="Take dimensions out of attention heads where that costs less [default: with --calibration].",
    ),
    click.option(
        "--remove-sublayers/--no-remove-sublayers",
        default=False,
        help="Let whole attentions and feed-forward blocks go where that does less damage than cutting more of the others.",
    ),
    click.option(
        "--joint-qkv/--no-joint-qkv",
        default=True,
        help="One left factor for two or all of query, key and value where that costs less [default: with --calibration].",
    ),
    click.option(
        "--refit/--no-refit",
        default=None,
        help="Regress every weight on what the squeezed model before it returns [default: by whiten and fisher].",
    ),
    click.option(
        "--prune-tokens",
        callback=fraction,
        metavar="F",
        help="Then let only the tokens that the attention looks at go on behind chosen layers, so that F of the multiplications "
        "with weights of the layers stay: for classifiers and embedders, chosen on --calibration.",
    ),
    click.option(
        "--distill",
        callback=number_or_word,
        metavar="STEPS|auto",
        help="Then let the squeezed model learn to imitate the dense one on the calibration text.",
    ),
    click.option(
        "--distill-layers",
        default=0.0,
        show_default=True,
        metavar="F",
        help="Fraction of its steps that goes through single layers first.",
    ),
    click.option(
        "--checkpoint",
        type=PATH,
        metavar="DIR",
        help="Where --distill keeps its state, to go on after a kill [default: beside OUT].",
    ),
    click.option("--checkpoint-minutes", default=5.0, show_default=True, metavar="N", help="How often it does."),
    click.option(
        "--provider", default="cpu", show_default=True, metavar="NAME", help="cpu or cuda, to calibrate and score on."
    ),
    click.option("--cache", type=PATH, metavar="DIR", help="Keep there what is learned of MODEL, for other budgets."),
    click.option(
        "--rank-rule",
        metavar="NAME[=F]",
        help="Cut each weight on its own instead of by --keep: tracy-widom, hard-threshold, shrinkage, energy=F, stable-rank, "
        "effective-rank or fixed=N (with --method squeeze, svd, fwsvd or tfwsvd).",
    ),
    click.option(
        "--decomposition",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="How singular triplets are found: exact, rsvd (randomized), rsi (randomized subspace iteration), or by shape.",
    ),
    click.option("--power-iterations", type=int, metavar="Q", help="Of rsi; 1 is rsvd [default: as --tolerance asks]."),
    click.option(
        "--tolerance", type=float, metavar="F", help="At which rsi stops, over the optimal error [default: 0.01]."
    ),
    click.option("--external-data", is_flag=True, help="Write the weights beside model.onnx (always above 2 GB)."),
    click.option(
        "--fuse", metavar="NAME", help="Fuse operators for ONNX Runtime on cpu or cuda; it runs nowhere else then."
    ),
    click.option(
        "--precision",
        metavar="NAME",
        help="fp32; fp16; int8: integer products, ranges found as it runs; int8-static: ranges from the calibration data; "
        "int8-int4: int8, large tables in four bits; int4: the smallest file, at the speed of fp32 [default: that of the plan, "
        "of MODEL if it is quantized, or fp32].",
    ),
    click.option(
        "--target-cpu",
        metavar="NAME",
        help="Processors that products of integers are right and fastest on: any, avx2, avx512, vnni, arm64, or this one's "
        "[default: that of the plan, or any].",
    ),
    click.option(
        "--output-dimensions",
        type=int,
        metavar="N",
        help="Add an output of embeddings of N numbers, the first n of which are the best n, by what is like what on the text of "
        "--calibration.",
    ),
    click.option(
        "--output-type",
        metavar="NAME",
        help="What the numbers of that output are: float, int8, uint8 (one scale for all) or binary (a bit each, packed).",
    ),
    click.option("--force", is_flag=True, help="Replace OUT if it exists and holds no file of somebody else."),
    click.option("--force-write", is_flag=True, help="Write OUT even if it answers far from what was predicted."),
    click.option(
        "--json", "json_path", type=PATH, metavar="FILE", help="Write report.json there too; - is standard output."
    ),
    SCHEDULER,
    reading_options,
    spectrum_options,
)
"""All but MODEL, ``--quiet`` and ``--verbose``."""
