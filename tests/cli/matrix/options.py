"""What ``optimize`` can be told, as factors with their levels, and which of these contradict each other.

A level is a piece of the command line; names in braces are files and folders that the test makes. A new option needs a level
here: `test_every_option_of_the_command_line_is_in_a_row` asks for it.
"""

from tests.cli.matrix.pairwise import Forbidden

Arguments = tuple[str, ...]

OPTIONS: dict[str, dict[str, Arguments]] = {
    "method": {
        name: ("--method", name) for name in ("auto", "squeeze", "svd", "whiten", "fisher", "fwsvd", "tfwsvd", "soco")
    },
    "precision": {name: ("--precision", name) for name in ("fp32", "fp16", "int8", "int8-static", "int8-int4", "int4")},
    "target": {name: ("--target-cpu", name) if name else () for name in ("", "avx2", "vnni", "arm64")},
    "model": {"inputs": ("--freeze-inputs",), "encoder": (), "classifier": (), "integers": ("--dequantize",)},
    "budget": {
        "half": ("--keep", "0.5"),
        "most": ("--keep", "0.7"),
        "usual": (),
        "floor": ("--keep", "0.6", "--floor", "0.1", "--floor", "ffn_in=0.3"),
        "size": ("--keep", "0.7", "--objective", "size"),
        "preset": ("--preset", "paper-ffn"),
        "rule": ("--rank-rule", "energy=0.95"),
    },
    "include": {
        "layers": (),
        "embedding": ("--include", "embedding"),
        "head": ("--include", "pooler", "--include", "classifier"),
        "everything": ("--include", "embedding", "--include", "pooler", "--include", "classifier"),
    },
    "text": {
        "none": (),
        "sentences": ("--calibration", "{text}", "--calibration-rows", "80", "--provider", "cpu"),
        "table": ("--calibration", "{table}", "--columns", "text=said"),
        "tokens": ("--calibration", "{tokens}"),
        "task": ("--task", "stsb", "--data", "{glue}", "--max-length", "12", "--tokenizer", "{tokenizer}"),
    },
    "run": {"once": (), "plan": (), "cache": ("--cache", "{cache}")},
    "refit": {"usual": (), "yes": ("--refit",), "no": ("--no-refit",)},
    "distill": {
        "no": (),
        "steps": ("--distill", "3"),
        "layers": ("--distill", "4", "--distill-layers", "0.5", "--checkpoint", "{state}", "--checkpoint-minutes", "1"),
    },
    "fuse": {"no": (), "cpu": ("--fuse", "cpu")},
    "neurons": {"yes": ("--slice-neurons",), "no": ("--no-slice-neurons",)},
    "heads": {"yes": ("--thin-heads",), "no": ("--no-thin-heads",)},
    "joint": {"yes": ("--joint-qkv",), "no": ("--no-joint-qkv",)},
    "above": {"leave": (), "denoise": ("--above-break-even", "denoise")},
    "exclude": {"nothing": (), "role": ("--exclude", "attention_output"), "site": ("--exclude", "layer.0/key")},
    "spectra": {"usual": (), "median": ("--noise", "median", "--probability", "0.9", "--seed", "1")},
    "decomposition": {
        "usual": (),
        "exact": ("--decomposition", "exact"),
        "rsi": ("--decomposition", "rsi", "--power-iterations", "3"),
        "tolerant": ("--decomposition", "rsi", "--tolerance", "0.02"),
    },
    "files": {"one": ("--quiet",), "data": ("--external-data", "--verbose"), "more": ("--json", "{json}", "--force")},
}

ALONE: dict[str, Arguments] = {
    "a budget of time": (
        *("--calibration", "{text}", "--target-latency", "1", "--include", "embedding"),
        *("--batch-size", "1", "--sequence-length", "8", "--threads", "1"),
    ),
    "a gate": (
        *("--task", "stsb", "--data", "{glue}", "--max-drop", "2", "--calibration-rows", "50"),
        *("--precision", "int8", "--include", "embedding"),
    ),
    "a part of the vocabulary": (
        *("--keep-vocabulary", "{text}", "--keep-vocabulary", "en", "--calibration", "{text}", "--keep", "0.6"),
        *("--include", "embedding", "--precision", "int8"),
    ),
    "a decomposition by chance": (
        "--keep",
        "0.6",
        "--decomposition",
        "rsvd",
        "--include",
        "embedding",
        "--fuse",
        "cpu",
    ),
    "a preset of a file": ("--preset", "paper-size", "--include", "embedding", "--precision", "int4"),
    "embeddings as somebody says": (
        *("--keep", "0.7", "--calibration", "{text}", "--pooling", "max", "--prompt", "the ", "--precision", "int8"),
    ),
    "embeddings to be stored": (
        *("--keep", "0.7", "--calibration", "{text}", "--output-dimensions", "16", "--output-type", "int8"),
    ),
    "a size": ("--calibration", "{text}", "--max-size", "40kB", "--effort", "quick", "--answer", "last_hidden_state"),
    "the noise of the bulk": ("--method", "squeeze", "--keep", "0.6", "--noise", "bulk", "--precision", "int8"),
}
"""Rows of their own: they take long, or leave nothing of the other options to combine with."""

ELSEWHERE = {
    "--output": "in every row",
    "--dry-run": "tests/cli/test_goals.py: nothing is written",
    "--remove-sublayers": "tests/cli/test_remove_sublayers.py: of models with sublayers that say little",
    "--no-remove-sublayers": "what every row does",
    "--keep-cache": "tests/cli/test_decoder_cache.py: of decoders that keep one",
    "--offline": "tests/cli/test_hub.py: of where a model comes from",
    "--help-all": "writes nothing",
    "--force-write": "tests/cli/test_last_look.py: nothing becomes of a model that is not broken",
    "--metric": "tests/cli/test_own_data.py: of what --max-drop is in points",
    "--prune-tokens": "tests/compress/tokens: moves answers further than those of a row may",
    "--plan": "in rows that are run again by their plan",
    "--scheduler": "tests/integrations/dask: the result is the same bit for bit, whatever the options",
}
"""Options that are no level, and why."""

NO_TEXT = frozenset({"none"})
UNIFORM = frozenset({"squeeze", "svd", "fwsvd", "tfwsvd"})
FISHER = frozenset({"fisher", "fwsvd", "tfwsvd"})

FORBIDDEN = (
    Forbidden(
        {"method": frozenset({"whiten", "fisher", "fwsvd", "tfwsvd", "soco"}), "text": NO_TEXT},
        "looks at activations; give --calibration",
    ),
    Forbidden({"refit": frozenset({"yes"}), "text": NO_TEXT}, "refitting runs the model on data"),
    Forbidden({"distill": frozenset({"steps", "layers"}), "text": NO_TEXT}, "--distill learns from text"),
    Forbidden({"precision": frozenset({"int8-static"}), "text": NO_TEXT}, "takes ranges from data"),
    Forbidden(
        {
            "precision": frozenset({"fp32", "fp16", "int4"}),
            "target": frozenset({"avx2", "vnni", "arm64"}),
        },
        "is about products of integers",
    ),
    Forbidden(
        {"include": frozenset({"head"}), "model": frozenset({"encoder", "inputs", "integers"})},
        "has no such weight that could be replaced; it has embedding, query, ",
    ),
    Forbidden({"budget": frozenset({"floor", "size"}), "method": UNIFORM}, "leave it out"),
    Forbidden({"budget": frozenset({"floor", "size"}), "method": frozenset({"auto"}), "text": NO_TEXT}, "leave it out"),
    Forbidden(
        {"budget": frozenset({"rule"}), "method": frozenset({"whiten", "fisher", "soco"})},
        "cuts each weight on its own",
    ),
    Forbidden(
        {"budget": frozenset({"preset"}), "method": frozenset({"svd", "whiten", "soco", *FISHER})},
        "is a regime of --method squeeze",
    ),
)
