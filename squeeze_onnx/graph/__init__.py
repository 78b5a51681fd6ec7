"""The ONNX graph: load, find sites, rewrite, save."""
