"""What `bench` measures and how."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.runtime.rivals import RIVALS
from squeeze_onnx.runtime.runner import RunnerOptions
from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.support.field_names import made_by_name
from squeeze_onnx.support.typed_fields import check_fields

DEFAULT_SHAPES = ((1, 32), (1, 128), (8, 128))
DEFAULT_ROWS = (1, 8)
"""Batch sizes of saved inputs."""

Shape = tuple[int, int | None]


@made_by_name
@dataclass(frozen=True)
class BenchConfig:
    """What is measured and how.

    provider: cpu or cuda.
    batch_sizes: sequences run at once; with ``sequence_lengths`` empty too the shapes are `DEFAULT_SHAPES`.
    sequence_lengths: tokens of each; every batch size is timed with every length, 1 and 128 stand in for what is not given. A
        model that was exported for one shape is timed at that, one of fewer positions at as many as it has.
    data: an .npz of inputs to time all models on instead of random tokens, of models that read images, audio or more than text.
    against: opponents that are built: int8 and fused from the first model, openvino from every one.
    threads: intra-op threads of the runtime; None for its choice.
    tf32: whether CUDA may multiply fp32 in TF32.
    cuda_graph: whether runs are captured as a CUDA graph.
    memory: whether peak memory is measured.
    rounds: how often all models take turns.
    repeats: runs in a turn.
    warm_up: runs before anything is timed.
    seed: seed of the tokens and of the bootstrap.
    """

    provider: str = "cpu"
    batch_sizes: tuple[int, ...] = ()
    sequence_lengths: tuple[int, ...] = ()
    data: Path | None = None
    against: tuple[str, ...] = ()
    threads: int | None = None
    tf32: bool = True
    cuda_graph: bool = False
    memory: bool = True
    rounds: int = 20
    repeats: int = 3
    warm_up: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        positive = {"batch_size": self.batch_sizes, "sequence_length": self.sequence_lengths, "rounds": (self.rounds,)}
        for option, values in positive.items():
            if any(value < 1 for value in values):
                raise OptionError(f"`{option}` is a positive integer; got {min(values)}")
        if self.data is not None and self.sequence_lengths:
            raise OptionError(f"`sequence_length` is for random tokens: {self.data} has a length of its own")
        for kind in self.against:
            if kind not in RIVALS:
                raise OptionError(f"`against` is one of {', '.join(RIVALS)}; got {kind!r}")
        if self.cuda_graph and self.provider != "cuda":
            raise OptionError("`cuda_graph` needs `provider` cuda")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the inputs, (batch size, sequence length), which saved inputs need not have."""
        if self.data is not None:
            return tuple((size, None) for size in self.batch_sizes or DEFAULT_ROWS)
        if not self.batch_sizes and not self.sequence_lengths:
            return DEFAULT_SHAPES
        return tuple(product(self.batch_sizes or (1,), self.sequence_lengths or (128,)))

    def at(self, label: str, fixed: FixedShape) -> "BenchConfig":
        """Return this, at the shape that the model ``label`` was exported for where it is ``fixed``.

        Raises OptionError for a batch size or length that was asked for and is another.
        """
        fixed.require(label, batch=self.batch_sizes, tokens=self.sequence_lengths)
        batch_sizes = self.batch_sizes if fixed.batch is None else (fixed.batch,)
        return replace(
            self,
            batch_sizes=batch_sizes,
            sequence_lengths=self.sequence_lengths if fixed.tokens is None else (fixed.tokens,),
        )

    @property
    def runner_options(self) -> RunnerOptions:
        """How each model is opened."""
        return RunnerOptions(self.provider, self.threads, self.tf32, self.cuda_graph)
