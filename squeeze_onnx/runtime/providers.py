"""Execution providers: the word on the command line and what onnxruntime is asked for."""

from typing import Any

from squeeze_onnx.support.errors import MissingPackageError, OptionError, ProviderError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Name on the command line → onnxruntime's name."""

ProviderList = list[tuple[str, dict[str, str]]]
"""What onnxruntime takes: (name, options), most wanted first."""


def import_onnxruntime() -> Any:
    """Import onnxruntime; raises MissingPackageError naming both extras when it is not installed."""
    try:
        import onnxruntime  # noqa: PLC0415, TID251
    except ImportError as error:
        raise MissingPackageError(
            "onnxruntime is not installed: pip install 'squeeze-onnx[cpu]', or 'squeeze-onnx[cuda]' on a CUDA machine"
        ) from error
    return onnxruntime


def resolve_provider(provider: str, *, use_tf32: bool = True, cuda_graph: bool = False) -> ProviderList:
    """Return onnxruntime's provider list for ``cpu`` or ``cuda``.

    On CUDA, onnxruntime multiplies fp32 matrices in TF32 (10 mantissa bits) unless told otherwise; ``use_tf32=False``
    asks for true fp32, so that results can be compared with the CPU's. ``cuda_graph`` has it record the kernels of a run
    once and replay them, which needs fixed shapes and IO binding. The CPU is last in every list: it takes the
    nodes that the first provider has no kernel for.

    Raises OptionError for an unknown word, ProviderError if the installed onnxruntime was built without the provider.
    """
    if provider not in PROVIDERS:
        raise OptionError(f"`provider` is one of {', '.join(PROVIDERS)}; got {provider!r}")
    available = import_onnxruntime().get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"`provider` {provider}: this onnxruntime has no {PROVIDERS[provider]}, it offers {', '.join(available)}"
            + ("; pip install 'squeeze-onnx[cuda]' brings a build with CUDA" if provider == "cuda" else "")
        )
    cpu: ProviderList = [(PROVIDERS["cpu"], {})]
    if provider == "cpu":
        return cpu
    options = {"use_tf32": str(int(use_tf32))}
    if cuda_graph:
        options["enable_cuda_graph"] = "1"
    return [(PROVIDERS["cuda"], options), *cpu]
