"""What a user asks for, in parts, each frozen and checked on its own; `squeeze_onnx.compress.config` puts them together."""

from squeeze_onnx.compress.settings.base import Part
from squeeze_onnx.compress.settings.budget import Budget
from squeeze_onnx.compress.settings.distillation import Distillation
from squeeze_onnx.compress.settings.fewer_tokens import FewerTokens
from squeeze_onnx.compress.settings.kept_words import KeptWords
from squeeze_onnx.compress.settings.output import Output
from squeeze_onnx.compress.settings.reading import Reading
from squeeze_onnx.compress.settings.sites import Sites
from squeeze_onnx.compress.settings.spectra import Spectra
from squeeze_onnx.compress.settings.steps import Steps
from squeeze_onnx.compress.settings.vectors import Vectors

__all__ = [
    "Budget",
    "Distillation",
    "FewerTokens",
    "KeptWords",
    "Output",
    "Part",
    "Reading",
    "Sites",
    "Spectra",
    "Steps",
    "Vectors",
]
