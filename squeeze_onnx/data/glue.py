"""The nine GLUE tasks (Wang et al. 2019, arXiv 1804.07461): columns, label order and metrics.

Column names, label order and split names are those of the data set ``nyu-mll/glue``.
"""

from squeeze_onnx.data.tasks import Kind, Split, Task
from squeeze_onnx.support.errors import OptionError

LABEL_COLUMN = "label"
HIGHEST_SCORE = 5.0
"""STS-B scores run from 0 to 5."""


MATCHED = Split("validation_matched", ("dev_matched", "validation_matched", "dev", "validation"))
MISMATCHED = Split("validation_mismatched", ("dev_mismatched", "validation_mismatched"), "_mismatched")


_SENTENCE = ("sentence",)
_SENTENCES = ("sentence1", "sentence2")
_ACCURACY = ("accuracy",)
_ACCURACY_F1 = ("accuracy", "f1")

# Accuracy is the primary metric of mrpc and qqp too: F1 of the frequent class hardly moves when a model collapses onto
# it (all "equivalent" is an F1 of 0.81 on mrpc). Spearman is stsb's, for it asks nothing of the scale of a cosine.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("sst2", _SENTENCE, ("negative", "positive"), _ACCURACY, "accuracy"),
        Task("mrpc", _SENTENCES, ("not_equivalent", "equivalent"), _ACCURACY_F1, "accuracy"),
        Task("rte", _SENTENCES, ("entailment", "not_entailment"), _ACCURACY, "accuracy"),
        Task("cola", _SENTENCE, ("unacceptable", "acceptable"), ("matthews",), "matthews"),
        Task("stsb", _SENTENCES, (), ("pearson", "spearman"), "spearman", kind=Kind.SCORES),
        Task("qnli", ("question", "sentence"), ("entailment", "not_entailment"), _ACCURACY, "accuracy"),
        Task("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), _ACCURACY_F1, "accuracy"),
        Task(
            "mnli",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            _ACCURACY,
            "accuracy",
            splits=(MATCHED, MISMATCHED),
        ),
        Task("wnli", _SENTENCES, ("not_entailment", "entailment"), _ACCURACY, "accuracy"),
    )
}


def plain(name: str) -> str:
    """Return letters and digits only, in lower case: ``SST-2`` and ``sst_2`` are both ``sst2``."""
    return "".join(character for character in name.lower() if character.isalnum())


def find_task(name: str) -> Task:
    """Return the task of this name, however it is spelled; raises OptionError naming all nine."""
    if plain(name) not in TASKS:
        raise OptionError(f"`task` is one of {', '.join(TASKS)}; got {name!r}")
    return TASKS[plain(name)]
