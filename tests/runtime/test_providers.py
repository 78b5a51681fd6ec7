import sys
from types import SimpleNamespace

import pytest

from squeeze_onnx.runtime.providers import import_onnxruntime, resolve_provider
from squeeze_onnx.support.errors import MissingPackageError, OptionError, ProviderError


@pytest.fixture
def onnxruntime_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for onnxruntime-gpu."""
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(get_available_providers=lambda: offered))


def test_cpu_is_one_provider_without_options() -> None:
    assert resolve_provider("cpu") == [("CPUExecutionProvider", {})]


@pytest.mark.parametrize(("use_tf32", "option"), [(True, "1"), (False, "0")])
@pytest.mark.usefixtures("onnxruntime_with_cuda")
def test_cuda_comes_before_the_cpu_and_says_whether_to_use_tf32(use_tf32: bool, option: str) -> None:
    assert resolve_provider("cuda", use_tf32=use_tf32) == [
        ("CUDAExecutionProvider", {"use_tf32": option}),
        ("CPUExecutionProvider", {}),
    ]


def test_a_provider_that_this_onnxruntime_lacks_is_named_with_what_it_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = SimpleNamespace(get_available_providers=lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    with pytest.raises(
        ProviderError, match=r"no CUDAExecutionProvider, it offers AzureExecutionProvider, CPUExecution"
    ):
        resolve_provider("cuda")


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionError, match=r"one of cpu, cuda; got 'tpu'"):
        resolve_provider("tpu")


def test_a_missing_onnxruntime_names_both_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"squeeze-onnx\[cpu\].*squeeze-onnx\[cuda\]"):
        import_onnxruntime()


@pytest.mark.usefixtures("onnxruntime_with_cuda")
def test_cuda_graphs_are_asked_for_by_an_option_of_the_provider() -> None:
    [(_, options), _] = resolve_provider("cuda", cuda_graph=True)
    assert options["enable_cuda_graph"] == "1"
