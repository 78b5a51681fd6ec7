"""Makes a small search of the paraphrases of MRPC, in the layout of BEIR: what embedders are scored on by nDCG@10.

python -m tools.small_retrieval GLUE OUT

Of every pair of the dev and train splits the second sentence is a document, and the first one of those that say the same is a
query, whose one answer is its second. Nothing here was calibrated on: that reads STS-B.
"""

import argparse
import csv
import json
from pathlib import Path

SPLITS = ("dev", "train")


def main(glue: Path, out: Path) -> None:
    """Write corpus.jsonl, queries.jsonl and qrels/test.tsv into the new folder ``out``."""
    pairs = [pair for split in SPLITS for pair in _pairs(glue / "MRPC" / f"{split}.tsv")]
    documents = {text: f"d{number}" for number, text in enumerate(dict.fromkeys(second for _, second, _ in pairs))}
    answers: dict[str, set[str]] = {}
    for first, second, same in pairs:
        if same:
            answers.setdefault(first, set()).add(documents[second])
    queries = {text: f"q{number}" for number, text in enumerate(answers)}
    (out / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": number, "text": text}) for text, number in texts.items()]
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    judged = [f"{queries[text]}\t{name}\t1" for text, names in answers.items() for name in sorted(names)]
    (out / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged, ""]), encoding="utf-8")


def _pairs(path: Path) -> list[tuple[str, str, bool]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["sentence1"], row["sentence2"], row["label"] == "1") for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("glue", type=Path, help="folder of GLUE splits")
    parser.add_argument("out", type=Path, help="folder to write")
    asked = parser.parse_args()
    main(asked.glue, asked.out)
