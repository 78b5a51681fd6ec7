"""The functions that `squeeze_onnx` has for callers in Python; the stages behind them take paths and configs only."""
