"""`ORTSqueezer`: squeezing as optimum's `ORTOptimizer` and `ORTQuantizer` do their work.

squeezer = ORTSqueezer.from_pretrained("bert-sst2/")            # or an ORTModel
squeezer.squeeze(OptimizeConfig(keep=0.5), save_dir="small/")
ORTModelForSequenceClassification.from_pretrained("small/")     # and ORTQuantizer.from_pretrained("small/")
"""

import os
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from squeeze_onnx.compress.calibration_source import CalibrationConfig
from squeeze_onnx.compress.config import OptimizeConfig
from squeeze_onnx.compress.plan import Plan
from squeeze_onnx.data.repository import find_repository
from squeeze_onnx.support.errors import ModelError
from squeeze_onnx.support.progress import Track, silent
from squeeze_onnx.workflows.optimize import optimize


@runtime_checkable
class LoadedModel(Protocol):
    """What is asked of an `optimum.onnxruntime.ORTModel` of one file: where that lies, and its transformers configuration."""

    path: Path
    config: Any


class ORTSqueezer:
    """Squeezes the ONNX file ``path``; ``config``, a transformers configuration, is saved beside the result, None keeps the one
    beside the file."""

    def __init__(self, path: Path, config: Any = None) -> None:
        self.path = path
        self.config = config

    @classmethod
    def from_pretrained(cls, model_or_path: str | os.PathLike[str] | LoadedModel, file_name: str | None = None) -> Self:
        """Take a folder as optimum writes it (``file_name`` says which file in it, if there are several) or an ORTModel.

        Raises ModelError for a folder without a model, and for an ORTModel of several files (encoder and decoder).
        """
        if isinstance(model_or_path, (str, os.PathLike)):
            folder = Path(model_or_path)
            return cls(find_repository(folder if file_name is None else folder / file_name).model_path)
        if not isinstance(model_or_path, LoadedModel):
            raise ModelError(
                f"a {type(model_or_path).__name__} is no model of one ONNX file: give an ORTModel that is, or name the folder "
                "and one file in it with file_name"
            )
        return cls(Path(model_or_path.path), model_or_path.config)

    def squeeze(
        self,
        config: OptimizeConfig | None = None,
        *,
        save_dir: str | os.PathLike[str],
        calibration: CalibrationConfig | None = None,
        plan: Plan | None = None,
        force: bool = False,
        track: Track = silent,
    ) -> Path:
        """Write the squeezed model, with tokenizer, configuration, plan.json and reports, to the new folder ``save_dir``.

        Returns it. Raises what `squeeze_onnx.optimize` raises, OutputError if the folder exists and ``force`` is not set.
        """
        folder = Path(save_dir)
        optimize(self.path, folder, config, calibration=calibration, plan=plan, force=force, track=track)
        if self.config is not None:
            self.config.save_pretrained(folder)
        return folder
