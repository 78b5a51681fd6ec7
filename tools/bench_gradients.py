"""What a gradient costs: forward + backward against a forward of the same model, and where the time goes.

    python tools/bench_gradients.py MODEL [--batch-size 16] [--sequence-length 64] [--threads 1] [--parameters all]

The forward is the model as onnxruntime runs it in use, with its weights constant and all optimizations on. The gradient is that
of the losses of distillation (hidden states and the answer) by factors and biases, or by all that learns. Both take turns.
"""

import argparse
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from squeeze_onnx.data.calibration import CalibrationBatch
from squeeze_onnx.data.model_config import read_settings
from squeeze_onnx.evaluate.head_choice import choose_head
from squeeze_onnx.graph.io.model import load_model, save_model
from squeeze_onnx.learning.distillation_losses import distillation_losses
from squeeze_onnx.learning.gradients import GradientGraph, differentiate
from squeeze_onnx.learning.losses import LOSS, LossGraph, attach_losses
from squeeze_onnx.learning.parameters import learnable_parameters
from squeeze_onnx.runtime import measure_latency, open_session
from squeeze_onnx.runtime.sessions import SessionSettings

Feeds = dict[str, np.ndarray]
PROFILED_RUNS = 5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--sequence-length", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--parameters", choices=("factors", "all"), default="factors", help="factors and biases, or all"
    )
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="cpu: processor time, for a busy machine"
    )
    options = parser.parse_args()

    model = load_model(options.model)
    head = choose_head(open_session(model.path), read_settings(model.path), None)
    losses = distillation_losses(model.ir, head)
    attached = attach_losses(model.ir, losses)
    parameters = learnable_parameters(model.ir, [loss.value for loss in losses])
    if options.parameters == "factors":
        parameters = tuple(
            name for name in parameters if name.endswith(("/left", "/right")) or is_vector(model.ir, name)
        )
    tokens = inputs(model.ir, options.batch_size, options.sequence_length)
    feeds = {**tokens, **targets(attached, model.path, tokens)}
    graph = differentiate(attached.model, parameters, LOSS, feeds)
    with TemporaryDirectory() as folder:
        adjoint = Path(folder) / "gradients.onnx"
        save_model(graph.model, adjoint)
        runs = [(model.path, tokens), (adjoint, {**feeds, **graph.parameters})]
        sessions = [(open_session(path, settings=SessionSettings(threads=options.threads)), fed) for path, fed in runs]
        forward, both = measure_latency(
            [partial(session.run, None, fed) for session, fed in sessions],
            rounds=options.rounds,
            clock=CLOCKS[options.clock],
        )
        print(summary(model.path, graph, forward.p50_ms, both.p50_ms, options))
        for title, (path, fed) in zip(("forward", "forward + backward"), runs, strict=True):
            print(f"\n{title}, ms an operator\n{profile(path, fed, options.threads)}")


def is_vector(model: ir.Model, name: str) -> bool:
    tensor = model.graph.initializers[name].const_value
    return tensor is not None and len(tensor.shape) == 1


def inputs(model: ir.Model, sequences: int, tokens: int) -> Feeds:
    """Return full sequences of random tokens."""
    rng = np.random.default_rng(0)
    shape = (sequences, tokens)
    known = {
        "input_ids": rng.integers(1000, 20000, shape),
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    return {str(value.name): known[str(value.name)] for value in model.graph.inputs}


def targets(attached: LossGraph, path: Path, tokens: Feeds) -> Feeds:
    """Return a teacher's values of the right shapes: random ones."""
    probe = load_model(path).ir
    known = {str(output.name): output for node in probe.graph for output in node.outputs}
    probe.graph.outputs[:] = [known[value] for value in attached.targets]
    rng = np.random.default_rng(1)
    with TemporaryDirectory() as folder:
        save_model(probe, Path(folder) / "probe.onnx")
        values = open_session(Path(folder) / "probe.onnx").run(None, tokens)
    named = zip(attached.targets, values, strict=True)
    taught = {name: rng.standard_normal(value.shape).astype(np.float32) for name, value in named}
    return attached.feeds(CalibrationBatch(tokens, None), taught)


def summary(path: Path, graph: GradientGraph, forward: float, both: float, options: Any) -> str:
    learned = sum(array.size for array in graph.parameters.values())
    return (
        f"{path}: {len(graph.parameters)} parameters, {learned / 1e6:.2f} M entries; {options.batch_size} × "
        f"{options.sequence_length}, {options.threads} thread(s), {options.clock} time, "
        f"medians of {3 * options.rounds} runs taken in turns\n"
        f"forward {forward:.1f} ms, forward + backward {both:.1f} ms, ratio {both / forward:.2f}"
    )


def profile(path: Path, feeds: Feeds, threads: int) -> str:
    """Return the time of each operator, the costliest first, as onnxruntime's profiler sees it."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.enable_profiling, settings.log_severity_level = threads, True, 3
    with TemporaryDirectory() as folder:
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        for _ in range(PROFILED_RUNS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
            calls[event["args"]["op_name"]] += 1
    total = sum(spent.values())
    lines = [
        f"{op:24} {time / PROFILED_RUNS / 1e3:8.1f}  {time / total:4.0%}  {calls[op] // PROFILED_RUNS:4} nodes"
        for op, time in spent.most_common(12)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
