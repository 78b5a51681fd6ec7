"""What `tools.sweep` looks at: the models of the onnx package's own backend tests, and exports of many architectures.

Each is a folder with model.onnx and, where they can be stored as plain arrays, inputs.npz. The models of single operators take
everything as an input; each of them is there a second time, with all inputs but the first as constants, for a weight to be found.
"""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tools.sweep_exports import further_exports
from tools.sweep_variants import feeds_for, float_source, is_quantized

Feeds = Mapping[str, np.ndarray]

FLOAT = "float"


def write_backend_models(_: Path, folder: Path) -> None:
    """Write all models of onnx.backend.test to ``folder``; nothing of it is cached."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        inputs = case.data_sets[0][0] if case.data_sets else []
        names = [value.name for value in case.model.graph.input]
        feeds = dict(zip(names, inputs, strict=False))
        _write(folder / "node" / case.name, case.model, feeds)
        constants = {name: array for name, array in list(feeds.items())[1:] if _is_plain(array)}
        if constants:
            rest = {name: array for name, array in feeds.items() if name not in constants}
            _write(folder / "node-constant" / case.name, with_constants(case.model, constants), rest)
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for path in sorted(data.rglob("*.onnx")):
        model = onnx.load(path)
        _write(
            folder / "data" / "-".join(path.relative_to(data).with_suffix("").parts), model, _feeds_beside(path, model)
        )


def write_architectures(cache: Path, folder: Path) -> None:
    """Write all `further_exports`; what is quantized gets a link, `FLOAT`, to the float model it comes from."""
    exports = further_exports(cache)
    for path in sorted(exports.glob("*/*.onnx")):
        written = folder / "exports" / f"{path.parent.name}-{path.stem}"
        _write(written, onnx.load(path), feeds_for(path))
        if is_quantized(path.stem):
            (written / FLOAT).symlink_to(Path("..", f"{path.parent.name}-{float_source(path.stem)}"))


def with_constants(model: onnx.ModelProto, constants: Feeds) -> onnx.ModelProto:
    """Return ``model`` with ``constants`` as initializers instead of inputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in [value for value in changed.graph.input if value.name in constants]:
        changed.graph.input.remove(value)
    changed.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return changed


def models_in(folder: Path) -> Iterator[Path]:
    """Yield the folders of all models, in a fixed order."""
    yield from sorted(path.parent for path in folder.glob("*/*/model.onnx"))


def _write(folder: Path, model: onnx.ModelProto, feeds: Mapping[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    if all(_is_plain(array) for array in feeds.values()) and "file" not in feeds:
        np.savez(folder / "inputs.npz", **feeds)  # type: ignore[arg-type]


def _is_plain(array: object) -> bool:
    """Whether onnxruntime takes ``array``, and .npz holds it, as it is: no sequence, no text, no type of ml_dtypes."""
    return isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "bifu"


def _feeds_beside(path: Path, model: onnx.ModelProto) -> dict[str, object]:
    tensors = sorted((path.parent / "test_data_set_0").glob("input_*.pb"), key=lambda file: int(file.stem[6:]))
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in constants]
    feeds: dict[str, object] = {}
    for name, file in zip(names, tensors, strict=False):
        tensor = onnx.TensorProto.FromString(file.read_bytes())
        feeds[name] = numpy_helper.to_array(tensor) if tensor.data_type else None
    return feeds
