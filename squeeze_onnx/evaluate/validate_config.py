"""What `validate` asks, and how."""

from dataclasses import dataclass
from pathlib import Path

from squeeze_onnx.data.embedding_files import EmbeddingOptions
from squeeze_onnx.data.glue import find_task
from squeeze_onnx.evaluate.own_data import check_own_options
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.typed_fields import check_fields


@made_by_name
@dataclass(frozen=True)
class ValidateConfig:
    """What is asked and how.

    task: the task of GLUE that is scored; None for own data, or for likeness alone.
    data: a folder of GLUE splits or a hub name; without a task a file of texts, labelled or not, a folder in BEIR's layout, or
        an .npz of model inputs.
    providers: what runs both models.
    max_drop: the gate: points of the primary metric that may be lost; a point is 0.01.
    batch_size: sequences that are run at once.
    max_tokens: tokens a sequence is cut to; None for what the files beside the model say.
    tokenizer: a tokenizer.json or a folder with one, instead of that beside the models.
    pooling: how token embeddings become one where no file beside the models says it.
    prompt: what stands before every text, by its name or itself.
    answer: the output that is the answer, where a model has several; None to find it by names and shapes.
    threads: threads within an operator; None for ONNX Runtime's choice.
    tf32: whether CUDA may multiply in TF32.
    seed: seed of the bootstrap and of perturbations.
    limit: rows of each split that are asked, for a quick look; None for all.
    latency_rounds: rounds that latency is timed in.
    robustness: whether to look beyond the clean metric, at perturbed texts and confidence.
    columns: columns of own rows, text=NAME, text2=NAME of a pair, label=NAME; None to find them by common names.
    metrics: what scores own rows, the first one counts; none for what is usual for their labels.
    """

    task: str | None = None
    data: str | Path | None = None
    providers: tuple[str, ...] = ("cpu",)
    max_drop: float | None = None
    batch_size: int = 32
    max_tokens: int | None = None
    tokenizer: Path | None = None
    pooling: str | None = None
    prompt: str | None = None
    answer: str | None = None
    threads: int | None = None
    tf32: bool = True
    seed: int = 0
    limit: int | None = None
    latency_rounds: int = 20
    robustness: bool = False
    columns: str | None = None
    metrics: tuple[str, ...] = ()

    @property
    def saved_inputs(self) -> Path | None:
        """The .npz of model inputs that both are run on; None where they read text."""
        if self.data is None or self.task is not None or not str(self.data).endswith(".npz"):
            return None
        return Path(self.data)

    def __post_init__(self) -> None:
        check_fields(self)
        check_own_options(self.task, self.data, self.columns, self.metrics)
        if self.task is not None:
            find_task(self.task)
            if self.data is None:
                raise OptionError(
                    f"`task` {self.task} needs `data`: a folder of GLUE splits, or nyu-mll/glue for the hub"
                )
        elif self.max_drop is not None and self.data is None:
            raise OptionError(
                "`max_drop` is in points of a task's metric; name the task with `task`, or labelled rows with `data` FILE"
            )
        # The comparison is turned so that NaN is refused too.
        if self.max_drop is not None and not self.max_drop >= 0:
            raise OptionError(f"`max_drop` is a number of points, 0 or more; got {self.max_drop}")
        EmbeddingOptions(self.pooling, self.prompt, self.answer)
        if not self.providers or len(set(self.providers)) < len(self.providers):
            raise OptionError(f"`provider` names each provider once; got {', '.join(self.providers) or 'none'}")
        positive = {"batch_size": self.batch_size, "max_tokens": self.max_tokens, "limit": self.limit}
        for option, value in positive.items():
            if value is not None and value < 1:
                raise OptionError(f"`{option}` is a positive integer; got {value}")
