"""Files of models that are not ONNX, as their names say, and how one gets a graph out of them."""

from pathlib import Path

EXPORT = "export it with `optimum-cli export onnx -m {folder} DIR`, and give DIR"

_WEIGHTS = f"holds weights without a graph: {EXPORT}"
_OTHERS = {
    ".safetensors": _WEIGHTS,
    ".bin": _WEIGHTS,
    ".pt": _WEIGHTS,
    ".pth": _WEIGHTS,
    ".ckpt": _WEIGHTS,
    ".h5": _WEIGHTS,
    ".msgpack": _WEIGHTS,
    ".gguf": "holds weights as llama.cpp reads them, without a graph: export the model that it was made of to ONNX",
    ".ort": "is a model in the format of ONNX Runtime, which has no graph to rewrite: give the .onnx file that it was made of",
    ".tflite": "is a model of TensorFlow Lite: export the model that it was made of to ONNX, with tf2onnx",
    ".pb": "is a graph of TensorFlow: turn it into ONNX with tf2onnx",
    ".engine": "is a plan of TensorRT for one device: give the .onnx file that it was made of",
}


def what_it_is(path: Path) -> str | None:
    """Say what the file ``path``, which is no ONNX, is by its name, and what to do; None if the name does not tell."""
    told = _OTHERS.get(path.suffix.lower())
    return None if told is None else f"{path} {told.format(folder=path.parent)}"
