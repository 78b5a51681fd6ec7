"""`SqueezeLowRank`, a pass for Olive, and the package configuration that makes Olive know it.

    python -m squeeze_onnx.integrations.olive > olive-package.json
    olive run --config run.json --package-config olive-package.json

In run.json: "passes": {"squeeze": {"type": "SqueezeLowRank", "keep": 0.5, "calibration": "sentences.txt"}}. A package
configuration takes the place of Olive's own, so the one that is printed here has all passes of the Olive that is installed.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from olive.hardware.accelerator import AcceleratorSpec
from olive.model import ONNXModelHandler
from olive.passes import Pass
from olive.passes.pass_config import BasePassConfig, PassConfigParam
from olive.search.search_parameter import Categorical

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.method_names import AUTO_HELP
from squeeze_onnx.data.companions import companions
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.workflows.optimize import optimize

ENTRY = {
    "module_path": "squeeze_onnx.integrations.olive.SqueezeLowRank",
    "supported_providers": ["*"],
    "supported_accelerators": ["*"],
    "supported_precisions": ["*"],
    "supported_algorithms": [],
    "supported_quantization_encodings": [],
}
"""What Olive wants to know of the pass."""


class SqueezeLowRank(Pass):  # type: ignore[misc]
    """Rewrite MatMuls as two thin ones; see `squeeze_onnx.workflows.optimize.optimize`."""

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        return {
            "keep": PassConfigParam(
                type_=float,
                default_value=0.5,
                search_defaults=Categorical([0.75, 0.5, 0.33]),
                description="Fraction of the eligible parameters that stays.",
            ),
            "method": PassConfigParam(
                type_=str,
                default_value="auto",
                search_defaults=Categorical(["auto", "svd"]),
                description=f"A method of squeeze-onnx; auto is, {AUTO_HELP}.",
            ),
            # Olive takes an empty string for the current folder, so nothing is None.
            "calibration": PassConfigParam(
                type_=str | None,
                default_value=None,
                description="Text without labels: a file, glue:TASK (with data), or an .npz of inputs.",
            ),
            "data": PassConfigParam(
                type_=str | None, default_value=None, description="Folder of GLUE splits, or a hub name."
            ),
            "calibration_rows": PassConfigParam(
                type_=int | None, default_value=None, description="Sentences or pairs to calibrate on."
            ),
            "options": PassConfigParam(
                type_=dict,
                default_value={},
                description="Other options of squeeze-onnx optimize, as in the [optimize] table of a recipe.",
            ),
        }

    def _run_for_config(
        self, model: ONNXModelHandler, config: type[BasePassConfig], output_model_path: str
    ) -> ONNXModelHandler:
        asked: Any = config
        out = Path(output_model_path).with_suffix("")
        calibration = None
        if asked.calibration is not None:
            calibration = CalibrationConfig(asked.calibration, asked.data, asked.calibration_rows)
        options = OptimizeConfig.from_json({**asked.options, "keep": asked.keep, "method": asked.method})
        optimize(model.model_path, out, options, calibration=calibration, force=out.exists())
        # The passes that follow take along what is named here.
        made = find_repository(out)
        beside = [str(made.root / name) for name in companions(made) if name.parent == made.encoder]
        return ONNXModelHandler(
            model_path=str(out), onnx_file_name=str(made.model), model_attributes={"additional_files": beside}
        )


def package_config() -> dict[str, Any]:
    """Return the configuration of the Olive that is installed, and the pass."""
    config: dict[str, Any] = json.loads((files("olive") / "olive_config.json").read_text(encoding="utf-8"))
    return {**config, "passes": {**config["passes"], "SqueezeLowRank": ENTRY}}


if __name__ == "__main__":
    print(json.dumps(package_config(), indent=1))
