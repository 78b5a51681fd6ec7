"""What to say of an option that a command does not have."""

from collections.abc import Iterator

import click

from squeeze_onnx.support.field_names import OPTION_NAMES
from squeeze_onnx.support.suggestions import did_you_mean


def advice(error: click.NoSuchOption) -> str:
    """Say which option is meant: the one that a recipe calls so, the same one of another command, or the nearest."""
    written, context = error.option_name, error.ctx
    if context is None:
        return error.format_message()
    own = set(_options(context.command, context))
    said = f"{context.info_name} has no option {written}"
    field = written.lstrip("-").replace("-", "_")
    same = [f"--{name.replace('_', '-')}" for name, meant in OPTION_NAMES.items() if meant == field]
    for option in same:
        if option in own:
            return f"{said}: it is called {option} here"
    others = [name for name, command in _other_commands(context) if written in _options(command, context)]
    if others:
        return f"{said}; it is one of {' and '.join(others)}"
    return f"{said}{did_you_mean(written, sorted(own)) or '; see --help'}"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        yield from (*parameter.opts, *parameter.secondary_opts)


def _other_commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    group = context.parent
    if group is None or not isinstance(group.command, click.Group):
        return
    for name in group.command.list_commands(group):
        command = group.command.get_command(group, name)
        if command is not None and command is not context.command:
            yield name, command
