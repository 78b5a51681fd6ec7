"""How like two embeddings are, by each function that sentence-transformers has."""

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from squeeze_onnx.data.repository import Repository
from squeeze_onnx.data.sentence_files import read_sentence_config
from squeeze_onnx.data.similarity import Similarity
from squeeze_onnx.support.errors import RepositoryError


@pytest.mark.parametrize(
    ("name", "expected"), [("cosine", 24 / 25), ("dot", 24.0), ("euclidean", -np.sqrt(2)), ("manhattan", -2.0)]
)
def test_each_function_of_pairs_and_of_all(name: str, expected: float) -> None:
    left, right = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 0.0]])
    similarity = Similarity(name)
    found = similarity.of_pairs(left, right)
    assert found[0] == pytest.approx(expected)
    np.testing.assert_allclose(np.diagonal(similarity.of_all(left, right)), found, rtol=1e-12)


def test_the_files_say_which(tmp_path: Path) -> None:
    repository, path = Repository(tmp_path, PurePosixPath("model.onnx")), tmp_path / "config_sentence_transformers.json"
    for written, read in ((None, "cosine"), ("dot", "dot")):
        path.write_text(json.dumps({"similarity_fn_name": written}))
        assert read_sentence_config(repository).similarity is Similarity(read)
    path.write_text('{"similarity_fn_name": "jaccard"}')
    with pytest.raises(RepositoryError, match="'jaccard', none of cosine, dot, euclidean, manhattan"):
        read_sentence_config(repository)
