"""The design's import rules: data flows one way, and `import squeeze_onnx` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import squeeze_onnx

PACKAGE = Path(squeeze_onnx.__file__).parent
HEAVY = {"onnxruntime", "torch", "transformers", "datasets", "pyarrow"}


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (("rmt", "decompositions"), ("graph", "runtime", "tasks", "config", "pipeline", "report", "cli")),
        (
            ("selectors", "weightings", "allocators"),
            ("graph", "runtime", "tasks", "config", "pipeline", "report", "cli"),
        ),
        (
            ("graph",),
            ("rmt", "selectors", "weightings", "decompositions", "allocators", "runtime", "config", "pipeline"),
        ),
        (("runtime",), ("graph", "rmt", "tasks", "config", "pipeline", "report", "cli")),
        (("tasks",), ("rmt", "decompositions", "allocators", "pipeline", "report", "cli")),
    ],
    ids="+".join,
)
def test_a_stage_knows_nothing_of_later_stages(folders: tuple[str, ...], forbidden: tuple[str, ...]) -> None:
    for path in modules(*folders):
        for module in imports_of(path):
            assert not module.startswith(tuple(f"squeeze_onnx.{name}" for name in forbidden)), f"{path.name}: {module}"


def test_only_the_runtime_imports_onnxruntime() -> None:
    importers = {path.parent.name for path in modules(".") if "onnxruntime" in set(imports_of(path))}
    assert importers <= {"runtime"}


def test_nothing_imports_torch_or_transformers() -> None:
    for path in modules("."):
        assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "transformers"}, path.name


def test_only_the_pipeline_and_the_command_line_see_all_stages() -> None:
    for path in modules("."):
        if {"squeeze_onnx.pipeline", "squeeze_onnx.squeezing"} & set(imports_of(path)):
            seers = ("__init__.py", "demo.py", "pipeline.py", "recipe_run.py", "search.py")
            assert path.parent.name in ("cli", "integrations") or path.name in seers, path.name


@pytest.mark.parametrize("statement", ["import squeeze_onnx", "import squeeze_onnx.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
