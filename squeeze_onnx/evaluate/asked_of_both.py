"""Both models of a validation, their tokenizer, and what they are asked."""

from dataclasses import replace
from pathlib import Path

from squeeze_onnx.data.columns import Columns
from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.data.model_config import ModelConfig, read_settings
from squeeze_onnx.data.readers import own_sentences, read_validation
from squeeze_onnx.data.repository import Repository, repository_of
from squeeze_onnx.data.tasks import Task
from squeeze_onnx.data.tokenization import load_text_encoder
from squeeze_onnx.data.tokenizer_files import has_tokenizer, tokenizer_place
from squeeze_onnx.data.vocabulary import embedding_rows
from squeeze_onnx.evaluate.evaluation import Encoders, Questions, Subject
from squeeze_onnx.evaluate.metrics import find_metrics
from squeeze_onnx.evaluate.own_data import AskedModel, read_own_data, usual_length
from squeeze_onnx.evaluate.validate_config import ValidateConfig
from squeeze_onnx.graph.io.model import load_model
from squeeze_onnx.graph.io.size import measure_size
from squeeze_onnx.support.given_names import in_words


def questions_of_glue(config: ValidateConfig) -> Questions | None:
    """Read what the models are asked; None for own data, which the model has a say in."""
    if config.task is not None and config.data is not None:
        task = find_task(config.task)
        splits = read_validation(task, config.data)
        if config.limit is not None:
            splits = tuple(rows.first(config.limit) for rows in splits)
        return Questions(tuple(texts for rows in splits for texts in rows.texts), task, splits)
    if config.data is None:
        return Questions(tuple((sentence,) for sentence in own_sentences()[: config.limit]))
    return None


def own_questions(config: ValidateConfig, model: AskedModel) -> Questions:
    """Read own data for ``model``; raises as `read_own_data` does."""
    assert config.data is not None, "there are questions without"
    own = read_own_data(
        Path(config.data),
        model,
        columns=None if config.columns is None else Columns.parse(config.columns),
        metrics=find_metrics(config.metrics),
        must_score=config.max_drop is not None,
    )
    if own.task is None or own.rows is None:
        assert own.table is not None, "there are texts where there is no task"
        return Questions(own.table.texts[: config.limit], own=own)
    rows = own.rows if config.limit is None else own.rows.first(config.limit)
    return Questions(rows.texts, own.task, (rows,), own)


def subjects_of(baseline: Repository, candidate: Repository, config: ValidateConfig) -> tuple[Subject, Subject]:
    """Look at both models; one whose files say nothing has what those of the other say."""
    asked = EmbeddingOptions(config.pooling, config.prompt, config.answer)
    repositories = (baseline, candidate)
    settings = [read_settings(repository.model_path, asked) for repository in repositories]
    known = next((found for found in settings if found.path is not None), settings[0])
    telling = next((each for each in settings if each.tells_of_embeddings and each.stored is None), settings[0])

    def subject(repository: Repository, own: ModelConfig) -> Subject:
        model = load_model(repository.model_path)
        found = replace(known, stored=own.stored) if own.path is None else own
        if not own.tells_of_embeddings:
            found = replace(found, repository=telling.repository, text_limits=telling.text_limits)
        rows = embedding_rows(model.ir) or found.vocabulary_size
        return Subject(
            model.path, found, measure_size(model), rows, FixedShape.of_graph(model.ir), in_words(str(model.path))
        )

    return subject(baseline, settings[0]), subject(candidate, settings[1])


def encoders_for(subjects: tuple[Subject, Subject], config: ValidateConfig, task: Task | None) -> Encoders:
    """Load what the two models read ``task`` by: the tokenizer that was asked for, or that of the baseline, or else each its own.

    Each reads its own where the same tokens have other ids, as in a model with a part of the vocabulary. Raises TokenizerError
    if one knows more tokens than its model.
    """
    places = [tokenizer_place(repository_of(subject.path)) for subject in subjects]
    source = config.tokenizer or next(filter(has_tokenizer, places), places[0])
    settings = subjects[0].config
    for subject in subjects:
        settings = settings.for_shape(subject.fixed)
    longest = config.max_tokens or usual_length(task)
    first = second = load_text_encoder(source, settings, max_tokens=longest)
    if source != places[1] and config.tokenizer is None and has_tokenizer(places[1]):
        own = load_text_encoder(places[1], replace(settings, pad_id=subjects[1].config.pad_id), max_tokens=longest)
        second = first if own.tokenizer.get_vocab() == first.tokenizer.get_vocab() else own
    for subject, encoder in zip(subjects, (first, second), strict=True):
        if subject.vocabulary is not None:
            encoder.check_vocabulary(subject.vocabulary, subject.path)
    return first, second
