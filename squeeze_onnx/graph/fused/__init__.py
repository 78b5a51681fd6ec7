"""ONNX Runtime's fused operators: found, written and taken apart."""
