"""One mutant in a process of its own: forked, put in the place of its module, and met with tests until one fails."""

import importlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType

import pytest
from hypothesis import HealthCheck, Phase, settings

from tools.mutations import Mutant
from tools.row_files import ROOT

KILLED, SURVIVED, OUT_OF_TIME, STILLBORN, UNTESTED = "killed", "survived", "out of time", "stillborn", "untested"
_STATUS = {KILLED: 10, SURVIVED: 11, STILLBORN: 12, UNTESTED: 13}
_PRELOADED = ("onnx", "onnx_ir", "scipy.integrate", "scipy.linalg", "scipy.optimize", "scipy.special", "scipy.stats")
_PYTEST = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_BYTES = 8 * 2**30
_EXAMPLES = 30  # of hypothesis, where a test run draws a hundred
_EXPECTED = {pytest.ExitCode.OK: SURVIVED, pytest.ExitCode.TESTS_FAILED: KILLED, pytest.ExitCode.INTERRUPTED: KILLED}


class _Loader(SourceFileLoader):
    """Runs ``code`` in place of what the file holds."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class _Finder(MetaPathFinder):
    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def outcome_of(mutant: Mutant | None, tests: Sequence[str], cpu_seconds: int) -> str:
    """Fork, put the mutant in the place of the module, and run ``tests`` until one fails; None stands for no change."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os._exit(_STATUS[_try(mutant, tests, cpu_seconds)])
    _, status, _ = os.wait4(process, 0)
    if os.WIFSIGNALED(status):
        return OUT_OF_TIME if os.WTERMSIG(status) == signal.SIGXCPU else KILLED
    return next((outcome for outcome, code in _STATUS.items() if code == os.WEXITSTATUS(status)), KILLED)


def _try(mutant: Mutant | None, tests: Sequence[str], cpu_seconds: int) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutant is not None:
        name = mutant.file.removesuffix(".py").replace("/", ".")
        code = compile(mutant.tree, str(ROOT / mutant.file), "exec")
        sys.meta_path.insert(0, _Finder(_Loader(name, str(ROOT / mutant.file), code)))
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a module that nobody can import is no mutant
            return STILLBORN
    status = pytest.main([*_PYTEST, *tests])
    return _EXPECTED.get(pytest.ExitCode(status), UNTESTED)


def prepare() -> None:
    """Import what takes long, and let hypothesis draw less, shrink nothing and not mind how long it takes."""
    for module in _PRELOADED:
        importlib.import_module(module)
    # The profiles of the tests are made from the one that is loaded when they are.
    settings.register_profile(
        "mutants",
        max_examples=_EXAMPLES,
        phases=(Phase.explicit, Phase.generate),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    loaded = [name for name in sys.modules if name.split(".")[0] in ("squeeze_onnx", "tests")]
    for name in loaded:  # each mutant imports them anew
        del sys.modules[name]
