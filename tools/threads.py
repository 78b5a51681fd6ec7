"""How many threads a tool computes with: by BLAS, and by every session of ONNX Runtime that it opens."""

import os
from typing import Any

BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def limit_threads(count: int) -> None:
    """Let this process, and those that it starts with Python's BLAS, compute with ``count`` threads from here on.

    Sessions are opened in many places, which leave the number to ONNX Runtime; so its default changes, here and nowhere else.
    """
    import onnxruntime
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    os.environ.update(dict.fromkeys(BLAS, str(count)))
    threadpool_limits(count)
    options = onnxruntime.SessionOptions

    def limited() -> Any:
        made = options()
        made.intra_op_num_threads = count
        return made

    onnxruntime.SessionOptions = limited
