"""What settings are called on the command line: sentences from below name them as Python does."""

from functools import cache
from importlib import import_module
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from squeeze_onnx.cli import COMMANDS
from squeeze_onnx.support.setting_names import call_settings


def in_flags(sentence: str) -> str:
    """Return ``sentence`` with the flag in the place of every setting of a command, such as --calibration."""
    return call_settings(sentence, lambda name, on: _flags().get((name, on))) if "`" in sentence else sentence


@cache
def _flags() -> dict[tuple[str, bool], str]:
    """Return the flag of each setting, and of those that can be switched off the one that does."""
    flags: dict[tuple[str, bool], str] = {}
    for command in COMMANDS:
        for option in getattr(import_module(f"squeeze_onnx.cli.{command}"), command).params:
            if isinstance(option, click.Option) and option.name:
                flag = option.opts[-1]
                for name in (option.name, flag.lstrip("-").replace("-", "_")):
                    flags.setdefault((name, True), flag)
                for off in option.secondary_opts:
                    flags.setdefault((option.name, False), off)
    return flags


class FlagConsole(Console):
    """A console that calls settings by their flags, in tables too."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return ``text`` as it is printed."""
        return super().render_str(in_flags(text), **options)
