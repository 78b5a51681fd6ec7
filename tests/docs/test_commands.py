"""What the documentation and the README show is run: commands, Python, recipes. What cannot be run here says why, and parses."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from squeeze_onnx import cli
from squeeze_onnx.compress.methods import METHODS
from squeeze_onnx.integrations.optimum_command import SqueezeExportCommand
from squeeze_onnx.spectral.decompositions import DECOMPOSITIONS
from tests.docs.pages import EXCUSES, PAGES, ROOT, Block, blocks, blocks_of
from tests.docs.sandbox import lay_out

PARSERS: Mapping[str, Callable[[str], object]] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
LANGUAGES = {"bash", "math", "python", "text", *PARSERS}
SHORTER = {"optimize": ("--calibration-rows", "32"), "bench": ("--rounds", "1", "--no-memory")}
"""What is added to a command so that it takes a second instead of ten; the last of equal options counts. Embeddings have 32
dimensions here, of which fewer are asked for."""

PLUGIN = "optimum/commands/register/register_squeeze.py"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which every page begins; optimum-cli's plugin lies there unless it is installed already."""
    folder = lay_out(tmp_path_factory.mktemp("documentation"))
    if importlib.util.find_spec("optimum.commands.register.register_squeeze") is None:
        (folder / "site" / PLUGIN).parent.mkdir(parents=True)
        shutil.copyfile(ROOT / "squeeze_onnx" / "integrations" / "register_squeeze.py", folder / "site" / PLUGIN)
    return folder


@pytest.fixture
def sandbox(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of its own for one page, which is the working directory meanwhile."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    registries: list[dict[str, Any]] = [METHODS, DECOMPOSITIONS]
    before = [set(registry) for registry in registries]
    yield tmp_path
    for registry, names in zip(registries, before, strict=True):
        for name in registry.keys() - names:  # a page shows how to add one
            del registry[name]


def environment(folder: Path) -> dict[str, str]:
    """Return the variables under which ``squeeze-onnx``, ``python`` and ``optimum-cli`` are those of this environment."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder / "site")]),
        "SQUEEZE_CACHE": str(folder / "models"),
        "HF_HUB_OFFLINE": "1",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_shows(page: Path, sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, object] = {}
    for block in blocks_of(page):
        assert block.language in LANGUAGES, block.place
        if block.excuse is not None:
            continue
        if block.snippet is not None:
            assert block.snippet.is_file(), block.place
        elif block.language == "python":
            exec(compile(block.code, block.place, "exec"), names)
        elif block.language == "bash":
            for command in block.commands:
                run_command(command, block, monkeypatch)
        elif block.language in PARSERS:
            PARSERS[block.language](block.code)
            if block.title is not None:
                (sandbox / block.title).parent.mkdir(parents=True, exist_ok=True)
                (sandbox / block.title).write_text(block.code, encoding="utf-8")


def run_command(command: str, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line as a shell does; a plain call of squeeze-onnx in this process, which saves importing everything anew."""
    words = shlex.split(command, comments=True)
    if words[0] == "squeeze-onnx" and not set(command) & set("|>&;$"):
        narrower = ("--output-dimensions", "8") if "--output-dimensions" in words else ()
        monkeypatch.setattr(sys, "argv", [*words, *SHORTER.get(words[1], ()), *narrower])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code, f"{block.place}: {command}"
    else:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.place}: {command}\n{done.stdout}{done.stderr}"


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("block", blocks(excused=True), ids=lambda block: block.place)
def test_what_is_not_run_says_why_and_parses(block: Block) -> None:
    excuse = str(block.excuse)
    test = excuse.removeprefix("is run by ")
    assert excuse in EXCUSES or (test != excuse and (ROOT / test).is_file()), block.place
    for command in block.commands if block.language == "bash" else ():
        parse(shlex.split(command, comments=True), block.place)


def parse(words: list[str], place: str) -> None:
    """Raise if a command of ours has an option that it does not know, or lacks an argument."""
    if "&&" in words:
        parse(words[words.index("&&") + 1 :], place)
    if Path(words[0]).name == "squeeze-onnx":
        parse_click(cli.cli, words[1:], place)
    elif words[:2] == ["python", "-m"] and words[2].startswith("tools."):
        parse_click(import_module(words[2]).main, words[3:], place)
    elif words[:3] == ["optimum-cli", "export", "squeeze"]:
        parser = ArgumentParser(place, exit_on_error=False)
        SqueezeExportCommand.parse_args(parser)
        parser.parse_args(words[3:])


def parse_click(command: click.Command, arguments: list[str], place: str) -> None:
    """Parse as click does before it calls a command."""
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), arguments[0])
        assert found is not None, f"{place}: {arguments[0]}"
        command, arguments = found, arguments[1:]
    command.make_context(command.name, arguments)


def test_recipes_are_shown_as_files() -> None:
    for block in blocks(excused=False):
        if block.language == "toml":
            assert block.title, f"{block.place}: name the file with title="


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("squeeze-onnx optimize model/ -o out/ --kept 0.5", "--kept"),
        ("squeeze-onnx validate model/", "candidate"),
        ("python -m tools.bench_quality --no-such-option", "--no-such-option"),
    ],
)
def test_a_slip_in_a_command_that_is_not_run_is_found(line: str, fault: str) -> None:
    with pytest.raises(click.UsageError, match=fault):
        parse(shlex.split(line), "here")
