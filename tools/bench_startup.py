"""How long a user waits for nothing: ``squeeze-onnx --help`` and ``import squeeze_onnx``, beside a bare interpreter.

    python -m tools.bench_startup [--rounds 21]

Prints JSON: the median and the fastest of each, in seconds. They take turns, so that a machine that slows down meanwhile does so
for all; the first round only warms up. Limits: 0.4 s for help, 0.3 s for the import (median, warm).
"""

import json
import subprocess
import sys
import time
from statistics import median

import click

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import squeeze_onnx": ("-c", "import squeeze_onnx"),
    "squeeze-onnx --help": ("-m", "squeeze_onnx", "--help"),
    "squeeze-onnx optimize --help": ("-m", "squeeze_onnx", "optimize", "--help"),
}
LIMITS = {"import squeeze_onnx": 0.3, "squeeze-onnx --help": 0.4}


@click.command()
@click.option("--rounds", default=21, show_default=True, help="Turns of every command.")
def main(rounds: int) -> None:
    """Measure, and print JSON."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    report = {
        name: {
            "median_s": round(median(taken[1:]), 3),
            "fastest_s": round(min(taken[1:]), 3),
            "limit_s": LIMITS.get(name),
        }
        for name, taken in seconds.items()
    }
    click.echo(json.dumps({"rounds": rounds, "python": sys.version.split()[0], "commands": report}, indent=1))


if __name__ == "__main__":
    main()
