"""Run by test_optimum.py in a process of its own: what a user of optimum does, on a tiny model; prints facts as JSON.

python optimum_script.py FOLDER
"""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from optimum.commands import optimum_cli

HEAVY = {"torch", "transformers", "onnxruntime", "onnx", "squeeze_onnx.workflows.optimize"}
WORDS = ["the", "film", "was", "good", "a", "very", "dull", "plot", "it", "is", "not", "bad", "but", "slow"]


def command(*arguments: object) -> int:
    """Call optimum-cli; return its exit status."""
    sys.argv = ["optimum-cli", *map(str, arguments)]
    try:
        optimum_cli.main()
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def write_checkpoint(folder: Path) -> None:
    """Write a tiny BERT classifier as transformers does, with a tokenizer of a few words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(special) + len(WORDS), max_position_embeddings=32, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)


def use(folder: Path) -> dict[str, Any]:
    """Load what was squeezed in all the ways that optimum has, and go on from there."""
    from optimum.onnxruntime import (
        AutoQuantizationConfig,
        ORTModelForFeatureExtraction,
        ORTModelForSequenceClassification,
        ORTQuantizer,
    )
    from transformers import AutoTokenizer, pipeline

    from squeeze_onnx import OptimizeConfig
    from squeeze_onnx.integrations.optimum import ORTSqueezer

    tokenizer = AutoTokenizer.from_pretrained(folder / "small")
    small = ORTModelForSequenceClassification.from_pretrained(folder / "small")
    [answer] = pipeline("text-classification", model=small, tokenizer=tokenizer)("the film was good")
    quantizer = ORTQuantizer.from_pretrained(folder / "small")
    quantizer.quantize(save_dir=folder / "int8", quantization_config=AutoQuantizationConfig.avx2(is_static=False))
    quantized = ORTModelForSequenceClassification.from_pretrained(folder / "int8")
    logits = [model(**tokenizer("it is not bad", return_tensors="pt")).logits for model in (small, quantized)]
    again = ORTSqueezer.from_pretrained(small).squeeze(OptimizeConfig(keep=0.9), save_dir=folder / "again")
    features = ORTModelForFeatureExtraction.from_pretrained(folder / "small")
    return {
        "pipeline": answer,
        "logits": [found.tolist() for found in logits],
        "files of an ORTModel squeezed": sorted(path.name for path in again.iterdir()),
        "inputs of the features": sorted(features.input_names),
    }


def main(folder: Path) -> dict[str, Any]:
    """Return all facts."""
    facts: dict[str, Any] = {"status of help": command("export", "--help")}
    facts["loaded by help"] = sorted(HEAVY & set(sys.modules))
    write_checkpoint(folder / "checkpoint")
    facts["export squeeze"] = command(
        "export",
        "squeeze",
        "--model",
        folder / "checkpoint",
        "--task",
        "text-classification",
        "--keep",
        0.5,
        folder / "small",
    )
    facts["export onnx"] = command(
        "export", "onnx", "--model", folder / "checkpoint", "--task", "text-classification", folder / "onnx"
    )
    facts["squeeze of an export"] = command(
        "export", "squeeze", "-m", folder / "onnx", "--keep", 0.5, folder / "small2"
    )
    facts["output exists"] = command("export", "squeeze", "-m", folder / "onnx", folder / "small2")
    return {**facts, **use(folder)}


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        found = main(Path(sys.argv[1]))
    print(json.dumps(found))
