"""Squeeze, quantize and time a model in one run of Olive: the example that the documentation shows, executed.

    python -m tools.run_olive MODEL OUT [--calibration SRC] [--data DIR] [--keep 0.5]

MODEL is an ONNX folder as optimum writes it. Writes OUT/run.json and OUT/package.json and runs ``olive run`` on them; the model
that comes out lies in OUT/model, its latency is printed. Needs
``pip install olive-ai==0.13.0 'pydantic<2.12'`` beside squeeze-onnx.
"""

import json
from pathlib import Path

import click


def run_config(model: Path, out: Path, *, calibration: str | None, data: str | None, keep: float) -> dict[str, object]:
    """Return the configuration of squeeze → int8 → latency on the CPU."""
    latency = {
        "name": "latency",
        "type": "latency",
        "sub_types": [{"name": "avg", "priority": 1}],
        "user_config": {"io_bind": False},
    }
    accelerator = {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(model), "onnx_file_name": "model.onnx"},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [accelerator]}},
        "data_configs": [
            {
                "name": "dummy",
                "type": "DummyDataContainer",
                "load_dataset_config": {
                    "type": "dummy_dataset",
                    "input_names": ["input_ids", "attention_mask", "token_type_ids"],
                    "input_shapes": [[1, 128]] * 3,
                    "input_types": ["int64"] * 3,
                },
            }
        ],
        "evaluators": {"speed": {"metrics": [{**latency, "data_config": "dummy"}]}},
        "passes": {
            "squeeze": {"type": "SqueezeLowRank", "keep": keep, "calibration": calibration, "data": data},
            "quantize": {"type": "OnnxDynamicQuantization"},
        },
        "evaluator": "speed",
        "host": "here",
        "target": "here",
        "cache_dir": str(out / "cache"),
        "output_dir": str(out / "model"),
    }


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--calibration", help="Text without labels, or glue:TASK.")
@click.option("--data", help="GLUE splits for glue:TASK.")
@click.option("--keep", default=0.5, show_default=True, help="Fraction of the eligible parameters that stays.")
def main(model: Path, out: Path, calibration: str | None, data: str | None, keep: float) -> None:
    """Write the configurations, and run Olive."""
    from olive.workflows import run

    from squeeze_onnx.integrations.olive import package_config

    out.mkdir(parents=True)
    config = run_config(model, out, calibration=calibration, data=data, keep=keep)
    (out / "run.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "package.json").write_text(json.dumps(package_config(), indent=1) + "\n")
    run(str(out / "run.json"), package_config=str(out / "package.json"))
    before, after = (
        json.loads((out / "model" / name).read_text())["latency-avg"]["value"]
        for name in ("input_model_metrics.json", "metrics.json")
    )
    click.echo(f"{out / 'model'}: {before:.2f} ms → {after:.2f} ms")


if __name__ == "__main__":
    main()
