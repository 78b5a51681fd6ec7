"""``optimum-cli export squeeze``: export a model and squeeze it, or squeeze one that is exported.

optimum-cli imports this at every start, so whatever is heavy is imported when the command runs.
"""

import json
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo

from squeeze_onnx.compress.method_names import METHOD_HELP
from squeeze_onnx.support.errors import LastLookError, SqueezeError
from squeeze_onnx.support.setting_names import call_settings

_CONFIG_OPTIONS = ("keep", "method", "fuse", "seed", "force_write")


class SqueezeExportCommand(BaseOptimumCLICommand):  # type: ignore[misc]
    """The command; optimum creates it with a parser, and once more with the arguments."""

    COMMAND = CommandInfo(
        name="squeeze", help="Export to ONNX and squeeze: fewer parameters by low rank, no retraining."
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options; those not given keep squeeze-onnx's defaults."""
        add = parser.add_argument
        add(
            "-m",
            "--model",
            required=True,
            help="Model ID on a hub, or a folder: of a model, or of ONNX that is exported.",
        )
        add("output", type=Path, help="Folder to write; it must not exist.")
        add("--keep", type=float, help="Fraction of the eligible parameters that stays (0.75).")
        add("--method", help=METHOD_HELP)
        add("--calibration", help="Text without labels: a file, a sentence a line; glue:TASK with --data; or an .npz.")
        add("--data", help="GLUE splits for --calibration glue:TASK: a folder, or a hub name.")
        add(
            "--calibration-rows",
            type=int,
            help="Sentences or pairs to calibrate on (as many as ranks need, 64 to 1024).",
        )
        add("--fuse", help="Fuse operators for ONNX Runtime on cpu or cuda.")
        add("--seed", type=int, help="Seed of all random numbers.")
        add("--task", default="auto", help="Of the export: what the model is for (auto).")
        add("--opset", type=int, help="Of the export: ONNX opset.")
        add(
            "--trust-remote-code",
            action="store_true",
            help="Of the export: run code that the model's repository holds.",
        )
        add(
            "--force",
            action="store_true",
            help="Replace the output folder if it exists and holds no file of somebody else.",
        )
        add(
            "--force-write", action="store_true", help="Write the model even if it answers far from what was predicted."
        )

    def run(self) -> None:
        """Squeeze, exporting first if need be; bad input is exit status 2 and one sentence, a model that came out broken 1."""
        try:
            self._run()
        except SqueezeError as error:
            status = 1 if isinstance(error, LastLookError) else 2
            self.parser.exit(
                status, f"optimum-cli export squeeze: error: {' '.join(_in_options(str(error)).split())}\n"
            )

    def _run(self) -> None:
        from squeeze_onnx.compress.calibration_source import CalibrationConfig  # noqa: PLC0415
        from squeeze_onnx.compress.config import OptimizeConfig  # noqa: PLC0415
        from squeeze_onnx.integrations.optimum import ORTSqueezer  # noqa: PLC0415

        given = {name: getattr(self.args, name) for name in _CONFIG_OPTIONS}
        config = OptimizeConfig.from_json({name: value for name, value in given.items() if value is not None})
        calibration = None
        if self.args.calibration is not None:
            calibration = CalibrationConfig(
                self.args.calibration, self.args.data, self.args.calibration_rows, seed=config.seed
            )
        out = self.args.output
        with tempfile.TemporaryDirectory(prefix="squeeze-onnx-") as folder:
            source = _exported(self.args, Path(folder))
            squeezer = ORTSqueezer.from_pretrained(source)
            squeezer.squeeze(config, save_dir=out, calibration=calibration, force=self.args.force)
        _tell(out)


def _in_options(sentence: str) -> str:
    """Return ``sentence`` with the option in the place of every setting that this command has."""
    known = (*_CONFIG_OPTIONS, "calibration", "data", "calibration_rows", "force")
    return call_settings(sentence, lambda name, on: f"--{name.replace('_', '-')}" if on and name in known else None)


def _tell(out: Path) -> None:
    """Print what became of the model in the folder ``out``, what to know of it, and the next step."""
    from squeeze_onnx.report.result import Report  # noqa: PLC0415

    report = Report(json.loads((out / "report.json").read_text(encoding="utf-8")))
    print(f"{out}: {', '.join(f'{name} {value}' for name, value in report.summary().items())}")
    for note in (*report["precision"]["notes"], *report["notes"]):
        print(f"Note: {_in_options(note)}")
    print(f"Report: {out / 'report.html'}; `squeeze-onnx validate` holds a model against the one it was made of")


def _exported(arguments: Any, folder: Path) -> Path:
    """Return the folder of the ONNX model: the one named if it holds one, else ``folder``, exported to."""
    named = Path(arguments.model)
    if named.is_dir() and any(named.glob("*.onnx")):
        return named
    from optimum.exporters.onnx import main_export  # noqa: PLC0415

    main_export(
        arguments.model,
        output=folder,
        task=arguments.task,
        opset=arguments.opset,
        trust_remote_code=arguments.trust_remote_code,
        do_validation=False,  # the squeezed model is what counts
    )
    return folder
