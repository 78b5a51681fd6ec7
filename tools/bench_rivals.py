"""What int8 alone costs: the dense reference models after ONNX Runtime's own dynamic quantization, scored like ours.

    python -m tools.bench_rivals --glue DIR [--model minilm-l6 …]

`bench --against int8` times the same model. Keeps rows of models/NAME/results/rivals.json.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from squeeze_onnx.data.companions import copy_companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.runtime.quantizers import quantize_int8
from squeeze_onnx.support.processor import int8_products_saturate
from tools.commands import score_values, scored
from tools.measuring import DEV_ROWS, TASKS, Clock, Recorder, data_options, row_options
from tools.tolerances import BYTES, of_answers

INT8 = "dense, ONNX Runtime's dynamic int8"


@click.command()
@data_options
@row_options
@click.option("--model", "names", multiple=True, type=click.Choice(list(TASKS)), default=list(TASKS))
def main(glue: Path, models: Path, names: Sequence[str], recorder: Recorder) -> None:
    """Measure, and keep rows in models/NAME/results/rivals.json."""
    for name in names:
        if recorder.wants(INT8):
            clock, dense, task = Clock(), models / name / "onnx", TASKS[name]
            with tempfile.TemporaryDirectory() as folder, recorder.attempt(INT8):
                rival, saturates = Path(folder) / "rival", int8_products_saturate()
                rival.mkdir()
                quantize_int8(dense / "model.onnx", rival / "model.onnx", reduce_range=saturates)
                copy_companions(find_repository(dense), rival)
                found = scored(dense, rival, task, glue)
                values = {"reduce_range": saturates, **score_values(found), "size": found["size"]}
                allowed = {**of_answers(values, DEV_ROWS[task]), "size.candidate_bytes": BYTES}
                command = ("tools.bench_rivals", "--model", name)
                recorder.keep(f"{name}/rivals", INT8, command, values, allowed, seconds=clock.lap())


if __name__ == "__main__":
    main()
