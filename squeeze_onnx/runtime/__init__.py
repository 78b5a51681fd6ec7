"""ONNX Runtime behind one door: which execution provider, which session, how long a run takes."""

from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.sessions import Session, open_session

__all__ = ["Latency", "Session", "measure_latency", "open_session"]
