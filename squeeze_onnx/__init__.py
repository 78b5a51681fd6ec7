"""Squeeze BERT-type ONNX models: random-matrix theory finds the signal in each weight, the rest goes."""

__version__ = "0.1.0"
