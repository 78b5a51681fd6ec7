"""What ``objective`` names: what a budget is spent on, measured for one model on this machine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from squeeze_onnx.compress.allocators import PARAMETERS, Objective
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.context import Context
from squeeze_onnx.compress.forms.removed import removed_sites
from squeeze_onnx.compress.lowering import finish
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.compress.precision import PRECISIONS, Evidence
from squeeze_onnx.compress.sublayer_latency import latency_beside_weights
from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.fixed_shape import FixedShape
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import bench
from squeeze_onnx.graph.io.model import OnnxModel, save_model
from squeeze_onnx.graph.match.sites import MatMulSite
from squeeze_onnx.runtime.matmul_latency import STEP, Lower, Setting, measure_matmuls
from squeeze_onnx.runtime.sessions import Feeds
from squeeze_onnx.support.downloads import cache_folder
from squeeze_onnx.support.stopwatch import Stopwatch


def objective_of(context: Context) -> Objective:
    """Return what the objective means for the sites of the model; raises what opening and timing it raises."""
    return OBJECTIVES[context.config.objective](context)


def setting_of(context: Context) -> Setting:
    """Return what latency is measured on: the shape that the model was exported for, or where that is free what is asked for.

    Raises OptionError for a batch size or length that is neither the usual one nor that of the export.
    """
    model, config = context.dense, context.config
    fixed, usual = FixedShape.of_graph(model.ir), OptimizeConfig()
    batch = [config.batch_size] if config.batch_size != usual.batch_size else []
    tokens = [config.sequence_length] if config.sequence_length != usual.sequence_length else []
    fixed.require(str(model.path), batch=batch, tokens=tokens)
    precision = config.precision or "fp32"
    return Setting(
        fixed.batch or config.batch_size,
        fixed.tokens or config.sequence_length,
        config.provider,
        config.threads,
        precision,
    )


@contextmanager
def written_alike(context: Context) -> Iterator[Path]:
    """Give the path of the dense model, fused and in the precision in which the squeezed one is written."""
    model, config = context.dense, context.config
    if config.fuse is None and config.precision in (None, "fp32"):
        yield model.path
        return
    with TemporaryDirectory() as folder:
        dense = OnnxModel(model.path, model.ir.clone())
        finished = finish(context, dense, Plan("", {}, ()), clock=Stopwatch())
        path = Path(folder) / "dense.onnx"
        save_model(finished.model.ir, path)
        yield path


def latency_report(context: Context, squeezed: Path, plan: Plan, objective: Objective) -> dict[str, Any]:
    """Time the dense model and what is in the file ``squeezed`` in turns, and put what was predicted for ``plan`` beside it.

    A ratio is the time of the squeezed model over that of the dense one, `written_alike`.
    """
    setting = setting_of(context)
    with written_alike(context) as path:
        measured = bench([path, squeezed], _bench_config(setting))
    speedup = measured.speedup(1, 0)
    dense, small = (latency.p50_ms for latency in measured.latencies[0])
    return {
        **asdict(setting),
        "baseline_p50_ms": dense,
        "optimized_p50_ms": small,
        "predicted_ratio": predicted_share(plan, objective),
        "measured_ratio": 1 / speedup.ratio,
        "measured_interval": [1 / speedup.interval.high, 1 / speedup.interval.low],
    }


def predicted_share(plan: Plan, objective: Objective) -> float:
    """Return what ``plan`` leaves of ``objective``, as a fraction of the dense model's."""
    dense = objective.fixed + sum(site.dense_cost(objective.cost) for site in plan.sites)
    fixed = objective.fixed_without(removed_sites(plan.sites))
    return (fixed + sum(site.kept_cost(objective.cost) for site in plan.sites)) / dense


def _parameters(context: Context) -> Objective:
    return PARAMETERS


def _size(context: Context) -> Objective:
    """Bytes, in units of those of an eligible parameter: the rest of the model is fixed."""
    eligible = sum(site.weight.stored_bytes for site in context.sites)
    entries = sum(site.parameters for site in context.sites)
    rest = max(context.size.bytes - eligible, 0)
    return Objective("the bytes of the model", fixed=rest * entries / eligible)


def _latency(context: Context) -> Objective:
    """Nanoseconds of one run; what is not spent on the weights of the sites is fixed."""
    setting = setting_of(context)
    shapes = [(site.in_features, site.out_features) for site in context.sites]
    cost = measure_matmuls(shapes, setting, _lowering(setting), cache_folder() / "latency", track=context.track)

    def weight(site: MatMulSite) -> float:
        return float(cost.into(site.in_features, np.array([site.out_features]))[0])

    def timer(paths: Sequence[Path]) -> list[float]:
        [latencies] = bench(paths, _bench_config(setting)).latencies
        return [latency.p50_ms * 1e6 for latency in latencies]

    with written_alike(context) as path:
        [whole] = timer([path])
    fixed = max(whole - sum(map(weight, context.sites)), 0.0)
    beside = latency_beside_weights(context, weight, timer) if _removes(context) else {}
    return Objective("the latency of the model", cost, fixed, STEP, beside_weights=beside)


def _removes(context: Context) -> bool:
    """Whether sublayers may go, or do so as a plan says."""
    return bool(removed_sites(context.plan.sites)) if context.plan is not None else context.config.remove_sublayers


def _lowering(setting: Setting) -> Lower:
    """Write a graph as the precision of ``setting`` writes a model, and nothing in a higher one."""
    precision = PRECISIONS[setting.precision]()

    def lower(graph: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
        evidence = Evidence((CalibrationBatch(feeds, None),), kept=(), provider=setting.provider)
        return ir.to_proto(precision.lower(ir.from_proto(graph), evidence).model)

    return lower


def _bench_config(setting: Setting) -> BenchConfig:
    return BenchConfig(
        provider=setting.provider,
        batch_sizes=(setting.batch_size,),
        sequence_lengths=(setting.sequence_length,),
        threads=setting.threads,
        memory=False,
    )


OBJECTIVES: dict[str, Callable[[Context], Objective]] = {"parameters": _parameters, "size": _size, "latency": _latency}
