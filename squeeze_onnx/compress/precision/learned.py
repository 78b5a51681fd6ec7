"""Weights that learn as they will be stored: rounded whenever the model reads them, so that the others make up for it.

Before learning factors are balanced and tables rounded; products that learn are rounded at each step, with the straight-through
gradient (`squeeze_onnx.learning.learner`). What is stored in the end are the very integers that the last answers were given with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir

from squeeze_onnx.compress.precision.base import Encoded, Encoder, Evidence, Precision
from squeeze_onnx.graph.match.sites import MatMulSite, find_sites
from squeeze_onnx.graph.quantized.few_bits import is_lookup
from squeeze_onnx.graph.rewrite.rewriter import Rewriter
from squeeze_onnx.learning.learner import Rounding


@dataclass(frozen=True)
class RoundedLearning:
    """How the weights of a model are rounded while it learns: ``encoders`` of products, and ``tables``, rounded once. By site."""

    encoders: Mapping[str, Encoder]
    tables: Mapping[str, Encoded]

    @classmethod
    def of(cls, precision: Precision, model: ir.Model, evidence: Evidence) -> Self:
        """Make ``model``, whose weights change in place, ready to learn in ``precision``."""
        encoders = precision.encoders(model, evidence)
        tables = {site.name: encoders[site.name](_entries(site)) for site in _sites(model, encoders) if is_lookup(site)}
        _put(model, tables)
        return cls({name: encoder for name, encoder in encoders.items() if name not in tables}, tables)

    def roundings(self, model: ir.Model) -> dict[str, Rounding]:
        """Return what becomes of the products of ``model``, by the name of their initializers."""
        return {
            str(site.weight.source.name): _rounding(self.encoders[site.name]) for site in _sites(model, self.encoders)
        }

    def finish(self, model: ir.Model) -> dict[str, Encoded]:
        """Round what ``model``, whose weights change in place, learned; returns the integers of all weights, by site."""
        found = {site.name: self.encoders[site.name](_entries(site)) for site in _sites(model, self.encoders)}
        _put(model, found)
        return {**self.tables, **found}


def _rounding(encoder: Encoder) -> Rounding:
    return lambda entries: encoder(entries).decoded()


def _sites(model: ir.Model, names: Mapping[str, object]) -> list[MatMulSite]:
    return [site for site in find_sites(model).sites if site.name in names]


def _entries(site: MatMulSite) -> np.ndarray:
    """Return the weight (in, out) in the type in which it learns: rounding it again gives the same integers."""
    return site.weight.numpy()


def _put(model: ir.Model, weights: Mapping[str, Encoded]) -> None:
    rewriter = Rewriter(model)
    for site in _sites(model, weights):
        rewriter.replace(site, weights[site.name].decoded())
