"""What others make of a model: the opponents that a squeezed model has to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from squeeze_onnx.runtime.openvino import INSTALL
from squeeze_onnx.runtime.openvino_conversion import convert_int8
from squeeze_onnx.runtime.providers import import_onnxruntime
from squeeze_onnx.runtime.quantizers import quantize_int8, quietly
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.errors import MissingPackageError, ModelError, OptionError
from squeeze_onnx.support.processor import int8_products_saturate


@dataclass(frozen=True)
class Rival:
    """How an opponent is made: ``build`` writes it to the second path from the .onnx file at the first, looking at the feeds.

    It runs in ``runtime``, from a file with this ``suffix``. ``of_every_model``: squeezed models are converted too, as their
    users would do; else only the baseline is. ``reads_feeds``: it takes ranges from them. ``packages`` are those it needs, and
    ``remedy`` gets them. ``remark`` is what is to be known of it on this machine.
    """

    build: Callable[[Path, Path, Sequence[Feeds]], None]
    runtime: str = "onnxruntime"
    of_every_model: bool = False
    reads_feeds: bool = False
    suffix: str = ".onnx"
    packages: tuple[str, ...] = ()
    remedy: str = ""
    remark: Callable[[], str | None] = lambda: None

    @property
    def files(self) -> tuple[str, ...]:
        """The suffixes of all files that are written."""
        return (self.suffix, ".bin") if self.suffix == ".xml" else (self.suffix,)


def quantize_for_this_processor(source: Path, target: Path, feeds: Sequence[Feeds] = ()) -> None:
    """Write onnxruntime's dynamic int8 form of ``source``, in seven bits where eight saturate."""
    quantize_int8(source, target, reduce_range=int8_products_saturate())


def fuse_dense(source: Path, target: Path, feeds: Sequence[Feeds] = ()) -> None:
    """Write to ``target`` what `onnxruntime.transformers.optimizer` makes of ``source``: attention and the like fused."""
    import_onnxruntime()
    with quietly():
        try:
            from onnxruntime.transformers import optimizer  # noqa: PLC0415, TID251
        except ModuleNotFoundError as error:  # older ones import torch
            raise _lacking("fused", str(error.name), f"pip install {error.name}") from error

        optimizer.optimize_model(str(source), model_type="bert").save_model_to_file(str(target))


def _seven_bits() -> str | None:
    return "weights of seven bits: products of eight saturate on this processor" if int8_products_saturate() else None


RIVALS: dict[str, Rival] = {
    "int8": Rival(quantize_for_this_processor, remark=_seven_bits),
    "fused": Rival(fuse_dense, packages=("sympy",), remedy="pip install sympy"),
    "openvino": Rival(
        convert_int8,
        runtime="openvino",
        of_every_model=True,
        reads_feeds=True,
        suffix=".xml",
        packages=("openvino", "nncf"),
        remedy=INSTALL,
    ),
}
"""Name on the command line → opponent."""


def check_rivals(kinds: Sequence[str], provider: str) -> None:
    """Raise MissingPackageError for an opponent that lacks a package, OptionError for one that does not run on ``provider``."""
    for kind in kinds:
        _check_packages(kind)
        if RIVALS[kind].runtime != "onnxruntime" and provider != "cpu":
            raise OptionError(f"`against` {kind} is timed on the CPU; leave it out, or leave out `provider` {provider}")


def build_rival(kind: str, source: Path, folder: Path, feeds: Sequence[Feeds] = ()) -> tuple[Path, ...]:
    """Write the opponent ``kind`` of the model ``source`` into ``folder``; return its files, first the one to open.

    ``feeds`` are inputs of the model, from which ranges are taken. Raises MissingPackageError if a package lacks, ModelError with
    its reason if the opponent's tool fails.
    """
    _check_packages(kind)
    rival = RIVALS[kind]
    target = folder / f"{kind}{rival.suffix}"
    try:
        rival.build(source, target, feeds)
    except (ValueError, RuntimeError, TypeError, KeyError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"`against` {kind}: onnxruntime's tool fails on {source}: {reason}") from error
    return tuple(target.with_suffix(suffix) for suffix in rival.files)


def _check_packages(kind: str) -> None:
    for package in RIVALS[kind].packages:
        if find_spec(package) is None:
            raise _lacking(kind, package, RIVALS[kind].remedy)


def _lacking(kind: str, package: str, remedy: str) -> MissingPackageError:
    return MissingPackageError(f"`against` {kind} needs {package}, which is not installed: {remedy}")
