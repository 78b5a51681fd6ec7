"""What comes out of a model and how an answer is read from it: one type per kind of head."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from squeeze_onnx.data.embedding import MEAN_OF_TOKENS, Activation, Embedding, EmbeddingModule
from squeeze_onnx.data.readers import Texts
from squeeze_onnx.data.stored_output import StoredOutput
from squeeze_onnx.evaluate.fidelity import (
    Fidelity,
    class_fidelity,
    embedding_fidelity,
    label_fidelity,
    pair_fidelity,
    profiles,
    score_fidelity,
)
from squeeze_onnx.support.errors import ModelError


class Head(Protocol):
    """One kind of model output.

    A row of data goes in as one or more sequences, a sequence comes out as one answer, a vector of float64, or as one a token;
    the answers to a row's sequences make its prediction: a class number or a score.
    """

    @property
    def kind(self) -> str:
        """Name the head in reports."""
        ...

    @property
    def output(self) -> str:
        """Name the graph output it reads."""
        ...

    def sequences(self, rows: Sequence[Texts]) -> list[Texts]:
        """Return what is read at once: pairs together, or every text on its own; rows in order."""
        ...

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Map a batch of the graph's output and the mask (sequences, tokens) to answers (answers, features)."""
        ...

    def owners(self, mask: np.ndarray) -> np.ndarray:
        """Return the number of the sequence that each answer to a batch is about, (answers,)."""
        ...

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Map the answers to all sequences, in order, to one prediction a row, shape (rows,), or a token."""
        ...

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare the answers of two models."""
        ...


class _OneAnswer:
    """What heads do unless they say otherwise: read a row at once, and answer it as a whole."""

    prompt = ""
    """Stands before the first text of every row."""

    def sequences(self, rows: Sequence[Texts]) -> list[Texts]:
        """Read pairs together."""
        return [(self.prompt + row[0], *row[1:]) for row in rows]

    def owners(self, mask: np.ndarray) -> np.ndarray:
        """Return the sequences in order."""
        return np.arange(len(mask))


class Logits(_OneAnswer):
    """Heads whose answers are logits of classes."""

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each answer."""
        return np.asarray(np.argmax(answers, axis=1))

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare logits, classes and class probabilities."""
        return class_fidelity(baseline, candidate)


@dataclass(frozen=True)
class ClassLogits(Logits):
    """Logits of classes, output (sequences, classes); class ``k`` of the data is number ``order[k]`` of the model."""

    output: str
    order: tuple[int, ...]
    prompt: str = ""
    kind = "class_logits"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Put the logits in the order of the data; raises ModelError if there are not as many as labels."""
        if output.shape != (len(mask), len(self.order)):
            raise ModelError(
                f"output {self.output!r} has shape {list(output.shape)} for {len(mask)} texts and {len(self.order)} labels; "
                "correct id2label in config.json, or export the model again"
            )
        logits: np.ndarray = output.astype(np.float64)[:, self.order]
        return logits


@dataclass(frozen=True)
class LabelLogits(Logits):
    """Logits of labels of which a text has any number, output (sequences, labels), each put through a sigmoid of its own."""

    output: str
    prompt: str = ""
    kind = "label_logits"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the logits."""
        return output.astype(np.float64)

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Return which labels each text has, (rows, labels): those with a probability over one half."""
        return np.asarray(answers > 0)

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare logits, sets of labels and the probabilities of each label."""
        return label_fidelity(baseline, candidate)


@dataclass(frozen=True)
class TokenLogits(Logits):
    """Logits of classes of every token, output (sequences, tokens, classes): names of things, parts of speech.

    An answer is about a token; padding has none, the tokens that the tokenizer adds have.
    """

    output: str
    kind = "token_logits"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the logits of the tokens, sequence by sequence."""
        logits: np.ndarray = output[mask.astype(bool)].astype(np.float64)
        return logits

    def owners(self, mask: np.ndarray) -> np.ndarray:
        """Return the sequence of each token."""
        return np.nonzero(mask)[0]


@dataclass(frozen=True)
class WordLogits(Logits):
    """Logits of a vocabulary at every token, output (sequences, tokens, words), as language models have them.

    The answer is the word at the middle token of a text: those at all tokens of a thousand texts are gigabytes.
    """

    output: str
    kind = "word_logits"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the logits at the middle of the tokens that are text."""
        text_first = np.argsort(mask == 0, axis=1, kind="stable")
        sequences = np.arange(len(mask))
        logits: np.ndarray = output[sequences, text_first[sequences, np.count_nonzero(mask, axis=1) // 2]]
        return logits.astype(np.float64)


@dataclass(frozen=True)
class ScoreHead(_OneAnswer):
    """One score a sequence, output (sequences, 1): how alike two texts are, or how well one answers the other (a reranker).

    Answers are the numbers of the graph; the score is what the ``activation`` makes of one.
    """

    output: str
    activation: Activation = Activation.IDENTITY
    prompt: str = ""
    kind = "regression"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the scores as a column."""
        return output.astype(np.float64).reshape(len(mask), 1)

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Return the score."""
        return self.activation.apply(answers[:, 0])

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare scores."""
        return score_fidelity(baseline, candidate)


@dataclass(frozen=True)
class SentenceEmbedding(_OneAnswer):
    """An embedding pooled in the graph, output (sequences, features); a pair's score is how like its two are.

    Of ``embedding`` the prompt counts, and the modules that are not part of the graph. ``stored`` says how it is read if it is
    made to be stored.
    """

    output: str
    embedding: Embedding = MEAN_OF_TOKENS
    stored: StoredOutput | None = None
    kind = "sentence_embedding"

    @property
    def own_axes(self) -> bool:
        """Whether its dimensions are no longer those that the model was trained to give."""
        return self.stored is not None and self.stored.own_axes

    def sequences(self, rows: Sequence[Texts]) -> list[Texts]:
        """Read every text on its own, behind the prompt."""
        return [(self.embedding.prompt + text,) for row in rows for text in row]

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the embeddings."""
        rows = output.astype(np.float64) if self.stored is None else self.stored.decode(output)
        return self.embedding.of_pooled(rows)

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Return how like the two embeddings of a pair are."""
        return self.embedding.similarity.of_pairs(answers[0::2], answers[1::2])

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare embeddings."""
        return embedding_fidelity(baseline, candidate)


@dataclass(frozen=True)
class TokenVectors(_OneAnswer):
    """A vector for every token, output (sequences, tokens, features), as ColBERT (Khattab & Zaharia 2020) compares texts by.

    An answer is about a token; padding has none. ``modules`` are those that each vector goes through behind the graph.
    """

    output: str
    prompt: str = ""
    modules: tuple[EmbeddingModule, ...] = ()
    kind = "token_vectors"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the vectors of the tokens, sequence by sequence."""
        vectors: np.ndarray = output[mask.astype(bool)].astype(np.float64)
        for module in self.modules:
            vectors = module.apply(vectors)
        return vectors

    def owners(self, mask: np.ndarray) -> np.ndarray:
        """Return the sequence of each token."""
        return np.nonzero(mask)[0]

    def predictions(self, answers: np.ndarray) -> np.ndarray:
        """Return how long each vector is: what tokens say together is not asked here."""
        return np.asarray(np.linalg.norm(answers, axis=1))

    def fidelity(self, baseline: np.ndarray, candidate: np.ndarray) -> Fidelity:
        """Compare the vectors of all tokens."""
        return embedding_fidelity(baseline, candidate)


@dataclass(frozen=True)
class TokenEmbeddings(SentenceEmbedding):
    """Embeddings of tokens, output (sequences, tokens, features), of which ``embedding`` makes that of the sentence.

    Unless it says otherwise that is their mean without padding, the pooling of sentence-transformers' all-MiniLM-L6-v2 and
    all-mpnet-base-v2 (Reimers & Gurevych 2019, arXiv 1908.10084, MEAN).
    """

    kind = "token_embeddings"

    def answers(self, output: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the embedding of each sequence."""
        return self.embedding.of_tokens(output, mask)


def comparable(heads: Sequence[Head], answers: Sequence[np.ndarray]) -> bool:
    """Say whether answers of two models can be compared: they have one width, or axes of their own."""
    return answers[0].shape[1:] == answers[1].shape[1:] or any(_has_own_axes(head) for head in heads)


def fidelity_of(heads: Sequence[Head], answers: Sequence[np.ndarray]) -> Fidelity:
    """Compare the answers of two models: embeddings by those of pairs of texts, if one model's have axes of their own."""
    if any(_has_own_axes(head) for head in heads):
        return pair_fidelity(*answers)
    return heads[0].fidelity(*answers)


def in_one_space(heads: Sequence[Head], answers: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return ``answers`` as rows that can be held against each other: those with axes of their own by what is like what."""
    return profiles(answers) if any(_has_own_axes(head) for head in heads) else answers


def _has_own_axes(head: Head) -> bool:
    return isinstance(head, SentenceEmbedding) and head.own_axes
