"""The files beside a model that a loader needs: tokenizer, configuration, pooling."""

import shutil
from pathlib import Path

LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.txt")
"""What most licences ask to be passed on."""

COMPANIONS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "ort_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    *LICENCES,
)
"""Relative paths, as optimum, transformers and sentence-transformers write them."""


def copy_companions(source: Path, target: Path) -> None:
    """Copy those `COMPANIONS` that ``source`` has into ``target``."""
    for name in COMPANIONS:
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)
