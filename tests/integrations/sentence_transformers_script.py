"""Run by test_sentence_transformers.py in a process of its own: what sentence-transformers makes of texts; prints JSON.

python sentence_transformers_script.py REQUEST.json, where that is {"texts": [...], "embedders": [folder, ...], "rerankers":
[folder, ...]}; every folder is loaded as its users do, with the ONNX backend.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

logging.disable(logging.CRITICAL)

OPTIONS: dict[str, Any] = {"backend": "onnx", "device": "cpu", "model_kwargs": {"provider": "CPUExecutionProvider"}}


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Return embeddings and scores by folder."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    texts = request["texts"]
    found: dict[str, Any] = {}
    for folder in request["embedders"]:
        found[folder] = SentenceTransformer(folder, **OPTIONS).encode(texts, batch_size=2).tolist()
    for folder in request["rerankers"]:
        pairs = [(text, texts[0]) for text in texts]
        found[folder] = CrossEncoder(folder, **OPTIONS).predict(pairs, batch_size=2).tolist()
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
