"""What reports say of how an embedding is made."""

from typing import Any

from squeeze_onnx.evaluate.answer_heads import Head, SentenceEmbedding, TokenEmbeddings


def embedding_entry(head: Head | None) -> dict[str, Any] | None:
    """Return plain values; None for a model that answers with something else, or whose answers are of no known kind.

    ``in_graph`` says that the graph pools; ``modules`` are those that are not part of it, ``stored`` how its numbers are read if
    they are made to be stored.
    """
    if not isinstance(head, SentenceEmbedding):
        return None
    entry = head.embedding.to_json()
    if not isinstance(head, TokenEmbeddings):
        entry |= {"pooling": [], "source": head.output}
    stored = None if head.stored is None else head.stored.to_json()
    return {"in_graph": not isinstance(head, TokenEmbeddings), **entry, "stored": stored}
