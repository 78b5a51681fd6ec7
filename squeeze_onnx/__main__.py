"""``python -m squeeze_onnx`` is ``squeeze-onnx``."""

from squeeze_onnx.cli import main

main()
