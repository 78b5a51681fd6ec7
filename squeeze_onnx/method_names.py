"""The names that ``--method`` takes, for help texts, which do not wait for numpy; `squeeze_onnx.methods` says what each is."""

METHOD_NAMES = ("squeeze", "svd", "whiten", "fisher", "fwsvd", "tfwsvd", "soco")

METHOD_HELP = f"auto (whiten with calibration data, else svd), {', '.join(METHOD_NAMES[:-1])} or {METHOD_NAMES[-1]}."
