"""The design's import rules: data flows one way, and `import squeeze_onnx` stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import squeeze_onnx

PACKAGE = Path(squeeze_onnx.__file__).parent
HEAVY = {"onnxruntime", "openvino", "nncf", "torch", "transformers", "datasets", "pyarrow"}

FOLDERS = (
    "support",
    "spectral",
    "graph",
    "runtime",
    "data",
    "evaluate",
    "learning",
    "compress",
    "report",
    "workflows",
    "integrations",
    "cli",
)
"""Ground first: a folder imports itself and what stands before it."""

GRAPH_FOLDERS = ("io", "match", "rewrite", "fused", "quantized")
"""The same within graph/."""

AT_THE_ROOT = {"__init__", "__main__"}


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(folder: str = ".") -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def own_imports(path: Path) -> set[tuple[str, ...]]:
    """What ``path`` imports of this package, as parts of the name below it."""
    return {tuple(name.split(".")[1:]) for name in imports_of(path) if name.split(".")[0] == "squeeze_onnx"}


def test_the_root_holds_the_folders_and_two_modules() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == AT_THE_ROOT


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_nothing_that_comes_after_it(folder: str) -> None:
    allowed = set(FOLDERS[: FOLDERS.index(folder) + 1])
    for path in modules(folder):
        for parts in own_imports(path):
            assert parts, f"{path}: import from the folder that holds it, not from squeeze_onnx"
            assert parts[0] in allowed, f"{path}: {'.'.join(parts)}"


@pytest.mark.parametrize("folder", GRAPH_FOLDERS)
def test_a_folder_of_the_graph_imports_nothing_that_comes_after_it(folder: str) -> None:
    allowed = set(GRAPH_FOLDERS[: GRAPH_FOLDERS.index(folder) + 1])
    for path in modules(f"graph/{folder}"):
        inner = {parts[1] for parts in own_imports(path) if parts[0] == "graph" and len(parts) > 1}
        assert inner <= allowed, path


@pytest.mark.parametrize("package", ["onnxruntime", "openvino", "nncf"])
def test_only_the_runtime_imports_what_runs_models(package: str) -> None:
    importers = {path.relative_to(PACKAGE).parts[0] for path in modules() if package in set(imports_of(path))}
    assert importers == {"runtime"}


def test_nothing_imports_torch_or_transformers() -> None:
    for path in modules():
        assert not {name.split(".")[0] for name in imports_of(path)} & {"torch", "transformers"}, path.name


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {path: length for path, length in lengths.items() if length > 300} == {}
    assert sorted(lengths.values())[len(lengths) // 2] <= 120


@pytest.mark.parametrize("statement", ["import squeeze_onnx", "import squeeze_onnx.cli"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_carries_out_optimize_waits_for_no_statistics() -> None:
    """`scipy.stats` takes longer to import than all the rest of a run on a small model."""
    code = "import squeeze_onnx.cli.optimize_request, sys; print('scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


MOST_PARAMETERS = 6

REASON = "# Over six parameters: "
"""How the line above a function begins that has more."""


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names of what a caller may give; options that a command hands on count as one."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [each.arg for each in (given.vararg, given.kwarg) if each is not None]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_functions_take_few_parameters() -> None:
    long = []
    for path in modules():
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and len(parameters(node)) > MOST_PARAMETERS:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                long.append(f"{path.name}: {node.name}")
                assert source.splitlines()[first - 2].startswith(REASON), f"{path}: {node.name} has no reason above it"
    assert len(long) <= 4, long


FLAG = re.compile(r"(?<![\w-])--[a-z]")

OPTIONS_OF_OTHERS = {"support/downloads.py", "runtime/ort_format.py", "integrations/optimum_command.py"}
"""They call pip, quote build.py, and are a command line themselves."""


def sentences(tree: ast.Module) -> Iterator[str]:
    """Every string of a module but docstrings."""
    said_alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said_alone:
            yield node.value


def test_only_the_command_line_speaks_of_flags() -> None:
    """Below it sentences name settings, which it calls by their flags."""
    for path in modules():
        address = path.relative_to(PACKAGE).as_posix()
        if not address.startswith("cli/") and address not in OPTIONS_OF_OTHERS:
            flags = [text for text in sentences(ast.parse(path.read_text(encoding="utf-8"))) if FLAG.search(text)]
            assert flags == [], f"{address}: name the setting in backticks, as in `calibration`"
