"""Feed the readers damaged files: only the documented errors may come out.

    python -m tools.fuzz TARGET [--runs 200000] [--corpus FOLDER] [--seed 0]

TARGET is model, plan, recipe, glue or bundle. Every run damages a real file, guided by coverage (atheris, which is libFuzzer:
``pip install 'squeeze-onnx[fuzz]'``), writes it and reads it as a command would. `SqueezeError` and its kinds are how a reader
says no; whatever else comes out is a finding: the input is kept in the working folder as ``crash-…`` and its place is printed.
FOLDER keeps what reached new code, for the next time.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click


@click.command(help=__doc__)
@click.argument("target", type=click.Choice(["model", "plan", "recipe", "glue", "bundle"]))
@click.option("--runs", default=200_000, show_default=True)
@click.option(
    "--corpus", type=click.Path(path_type=Path, file_okay=False), help="Folder of inputs to start from and add to."
)
@click.option("--seed", default=0, show_default=True, help="0: another one every time.")
def main(target: str, runs: int, corpus: Path | None, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(
        include=["squeeze_onnx"]
    ):  # what is to be covered is imported here for the first time
        from tools.fuzz_targets import TARGETS, attempt, seed_of
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        folder = Path(scratch)
        corpus = corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        good = seed_of(TARGETS[target])
        (corpus / "good").write_bytes(good)
        options = [f"-runs={runs}", f"-max_len={4 * len(good)}", "-rss_limit_mb=4096"]
        if words := list(_words(target, good)):
            (folder / "words").write_text("".join(f'"{word}"\n' for word in words), encoding="utf-8")
            options.append(f"-dict={folder / 'words'}")
        atheris.Setup(
            [sys.argv[0], *options, *([f"-seed={seed}"] if seed else []), str(corpus)],
            lambda data: attempt(TARGETS[target], folder, data),
        )
        atheris.Fuzz()


def _words(target: str, good: bytes) -> Iterator[str]:
    """Yield what a file of this kind is spelled with, which damage would hardly ever hit upon."""
    if target == "plan":
        plan = json.loads(good)
        yield from dict.fromkeys(word for entry in (plan, plan["sites"][0]) for word in entry if word.isidentifier())
    yield from {"plan": ("null", "NaN", "1e999", "-1"), "recipe": ("[optimize]", "[run]", "= true", "nan")}.get(
        target, ()
    )


def _memory() -> str | None:
    """Return a folder in memory, where files cost least."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    main()
