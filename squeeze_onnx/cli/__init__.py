"""The command line: arguments → config → pipeline. No logic lives here."""

import io
import signal
import sys
from importlib import import_module
from typing import NoReturn

import click

from squeeze_onnx.support.errors import GateError, LastLookError, SqueezeError
from squeeze_onnx.support.suggestions import did_you_mean
from squeeze_onnx.support.version import __version__

COMMANDS = {
    "analyze": "Say what in each weight matrix is signal, by random-matrix theory.",
    "optimize": "Write a smaller model: MatMuls become two thin MatMuls.",
    "validate": "Score a candidate against a baseline: task metrics, fidelity, latency, size.",
    "bench": "Time models in turns: speed-ups with intervals, memory, size.",
    "package": "Pack a model with tokenizer, manifest and run.py for a device.",
    "verify": "Check a bundle file by file, and run its model once.",
    "run": "Carry out a squeeze.toml: optimize, validate, gate, package.",
    "demo": "Fetch a small trained BERT, squeeze it and show what happened.",
    "doctor": "Say what this machine has, and what is missing for what.",
}
"""Name → one line. Each command lives in the module of its name, imported only when it runs, so that help is fast."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the main job."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a known command and return the command in it."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"squeeze_onnx.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for, or say which one may have been meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or f"; there are {', '.join(COMMANDS)}"
            ctx.fail(f"No such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="squeeze-onnx")
@click.pass_context
def cli(context: click.Context) -> None:
    """Squeeze BERT-type ONNX models: find the signal in each weight, drop the rest, prove it still works.

    \b
    squeeze-onnx demo                                     see it work, on a model it fetches
    squeeze-onnx analyze  model/                          look at your own model
    squeeze-onnx optimize model/ -o small/ --keep 0.75 --calibration sentences.txt
    squeeze-onnx validate model/ small/ --task sst2 --data glue/ --max-drop 1
    squeeze-onnx bench    model/ small/ --against int8    is it faster, and by how much?
    squeeze-onnx package  small/ -o small.zip             one file for a device
    squeeze-onnx verify   small.zip                       is it whole, and does it run?
    squeeze-onnx run      squeeze.toml                    all of that, as one reviewed file
    squeeze-onnx doctor                                   what does this machine have?
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line; bad input is exit status 2 with one sentence on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without β shows a question mark
    try:
        status = cli.main(prog_name="squeeze-onnx", standalone_mode=False)
    except (GateError, LastLookError) as error:
        _fail(str(error), 1)
    except SqueezeError as error:
        _fail(str(error), 2)
    except click.NoSuchOption as error:
        from squeeze_onnx.cli.unknown_options import advice

        _fail(advice(error), 2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except click.Abort:
        _fail("interrupted", 128 + signal.SIGINT)
    sys.exit(status)


def _fail(sentence: str, status: int) -> NoReturn:
    from squeeze_onnx.cli.flags import in_flags

    # What comes from files and libraries may hold line breaks.
    click.echo(f"squeeze-onnx: error: {' '.join(in_flags(sentence).split())}", err=True)
    sys.exit(status)
