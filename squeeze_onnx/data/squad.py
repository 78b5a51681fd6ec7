"""The file of the Stanford Question Answering Dataset (Rajpurkar et al. 2016, arXiv 1606.05250).

It has articles, these have paragraphs, and these a context and its questions.
"""

from typing import Any


def is_squad(document: Any) -> bool:
    """Say whether a JSON document is one: ``{"data": [{"paragraphs": […]}, …]}``."""
    articles = document.get("data") if isinstance(document, dict) else None
    return (
        isinstance(articles, list)
        and bool(articles)
        and all(isinstance(article, dict) and isinstance(article.get("paragraphs"), list) for article in articles)
    )


def squad_rows(document: Any) -> list[Any]:
    """Return a row a question, with the names that the data set has on the hub: id, question, context and answers.

    What is not as SQuAD has it is left as it is, for whoever reads the rows to name.
    """
    return [
        {**question, "context": paragraph.get("context")} if isinstance(question, dict) else question
        for article in document["data"]
        for paragraph in article["paragraphs"]
        if isinstance(paragraph, dict)
        for question in paragraph.get("qas") or ()
    ]
