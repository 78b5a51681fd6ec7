"""ONNX Runtime behind one door: which execution provider, which session, how long a run takes."""

import os

# From 1.29 on, ONNX Runtime's Linux builds send usage data and write a device id into the cache, unless they are told not to
# before they are loaded. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from squeeze_onnx.runtime.latency import Latency, measure_latency
from squeeze_onnx.runtime.sessions import Session, open_session

__all__ = ["Latency", "Session", "measure_latency", "open_session"]
