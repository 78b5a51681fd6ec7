"""Shipped in wheels as optimum/commands/register/register_squeeze.py, where optimum-cli looks for commands (pyproject.toml)."""

from optimum.commands.export.base import ExportCommand

from squeeze_onnx.integrations.optimum_command import SqueezeExportCommand

REGISTER_COMMANDS = [(SqueezeExportCommand, ExportCommand)]
