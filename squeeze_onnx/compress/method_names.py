"""The names that ``method`` takes, for help texts, which do not wait for numpy; `methods` beside it says what each is."""

METHOD_NAMES = ("squeeze", "svd", "whiten", "fisher", "fwsvd", "tfwsvd", "soco")

AUTO_HELP = "with calibration data fisher for classes and scores, else whiten; without it svd"
"""What ``auto`` stands for; `squeeze_onnx.compress.automatic` decides."""

METHOD_HELP = f"auto ({AUTO_HELP}), {', '.join(METHOD_NAMES[:-1])} or {METHOD_NAMES[-1]}."
