"""The small world in which the commands of the documentation run: the names that its pages use, each a tiny real thing.

``bert-sst2/`` is a classifier and ``minilm/`` an encoder, both with a tokenizer, ``minilm-int8/`` what `quantize_dynamic` makes
of the encoder, ``decoder/`` keeps its keys and values; ``glue/`` has splits of SST-2 and STS-B that they answer perfectly,
``reviews.csv`` the rows of SST-2, ``search/`` pairs of STS-B as queries and documents; ``sentences.txt`` has a sentence a line.
The weights are of low rank but for a little noise, so that squeezing them costs little, as it does with trained ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from squeeze_onnx.runtime.quantizers import quantize_int8
from squeeze_onnx.runtime.sessions import open_session
from tests.graded_pairs import GradedPair, graded_pairs, write_split
from tests.text_models import SPECIAL
from tests.tiny_decoder import decoder, write_decoder
from tests.tiny_encoder import ELIGIBLE_SITES, WORDS, encoder_model, weights_of, with_weights, write_model_folder

LAYERS = 1
RANK = 4
NOISE = 1e-3
ROWS = {"train": 240, "dev": 100}
LENGTH = 6
CLS, SEP = 2, 3


def lay_out(folder: Path) -> Path:
    """Write all of it into ``folder``, which is returned."""
    labels = {"id2label": {"0": "negative", "1": "positive"}}
    classifier = write_model_folder(
        folder / "bert-sst2", nearly_low_rank(encoder_model(classifier=True, layers=LAYERS)), **labels
    )
    encoder = write_model_folder(folder / "minilm", nearly_low_rank(encoder_model(layers=LAYERS)))
    write_decoder(folder / "decoder", decoder(rotary=False, repeat="gather"))
    quantize_int8(encoder / "model.onnx", write_model_folder(folder / "minilm-int8") / "model.onnx")
    write_sst2(classifier, folder / "glue" / "SST-2")
    tables = [(folder / "glue" / "SST-2" / f"{name}.tsv").read_text(encoding="utf-8").splitlines() for name in ROWS]
    rows = [row.replace("\t", ",") for table in tables for row in table[1:]]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows, ""]), encoding="utf-8")
    pairs = graded_pairs(encoder, sum(ROWS.values()))
    pairs = [pairs[index] for index in np.random.default_rng(0).permutation(len(pairs))]
    for name, split in (("train", pairs[: ROWS["train"]]), ("dev", pairs[ROWS["train"] :])):
        write_split(folder / "glue", name, split)
    write_search(folder / "search", pairs[:20])
    (folder / "sentences.txt").write_text("\n".join(pair.texts[0] for pair in pairs[:64]) + "\n", encoding="utf-8")
    return folder


def write_search(folder: Path, pairs: Sequence[GradedPair]) -> None:
    """Write the first sentences as queries and the second ones as documents, each the answer to its own."""
    (folder / "qrels").mkdir(parents=True)
    for file, letter, number in (("queries", "q", 0), ("corpus", "d", 1)):
        rows = [json.dumps({"_id": f"{letter}{row}", "text": pair.texts[number]}) for row, pair in enumerate(pairs)]
        (folder / f"{file}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    judged = ["query-id\tcorpus-id\tscore", *(f"q{row}\td{row}\t1" for row in range(len(pairs)))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n", encoding="utf-8")


def nearly_low_rank(model: onnx.ModelProto) -> onnx.ModelProto:
    """Cut the eligible weights of ``model`` to rank `RANK`, up to some noise; it changes and is returned."""
    random = np.random.default_rng(1)
    weights = weights_of(model)
    cut = {}
    for name in (f"{site}.weight" for site in ELIGIBLE_SITES if f"{site}.weight" in weights):
        left, values, right = np.linalg.svd(weights[name].astype(np.float64), full_matrices=False)
        exact = (left[:, :RANK] * values[:RANK]) @ right[:RANK]
        cut[name] = (exact + NOISE * random.standard_normal(exact.shape)).astype(weights[name].dtype)
    return with_weights(model, cut)


def write_sst2(model: Path, folder: Path) -> None:
    """Write sentences with the class that ``model`` is surest of, as train.tsv and dev.tsv of ``folder``."""
    count = sum(ROWS.values())
    words = np.random.default_rng(2).integers(len(WORDS), size=(2 * count, LENGTH))
    ids = np.pad(words + len(SPECIAL), ((0, 0), (1, 1)), constant_values=((0, 0), (CLS, SEP)))
    [logits] = open_session(model / "model.onnx").run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    surest = np.sort(np.argsort(-np.abs(logits[:, 0] - logits[:, 1]))[:count])
    rows = [f"{' '.join(WORDS[word] for word in words[row])}\t{logits[row].argmax()}" for row in surest]
    folder.mkdir(parents=True)
    for name, split in (("train", rows[: ROWS["train"]]), ("dev", rows[ROWS["train"] :])):
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *split, ""]), encoding="utf-8")
