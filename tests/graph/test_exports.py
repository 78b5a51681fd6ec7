"""Sites, roles and rewriting on what real exporters write, for small random models of many architectures."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from squeeze_onnx.graph.match.sites import find_sites
from squeeze_onnx.graph.rewrite.rewriter import factor_site, replace_weight
from squeeze_onnx.graph.rewrite.trimmed_table import find_token_tables, keep_rows
from tests.architectures import EXPORTS, exported_models, padded_batch
from tests.graph.execution import LEVELS, factor_fully, run, svd_factors

Roles = dict[str, int]

SEPARATE: Roles = {"query": 1, "key": 1, "value": 1, "attention_output": 1, "ffn_in": 1, "ffn_out": 1}
PACKED: Roles = {"query_key_value": 1, "attention_output": 1, "ffn_in": 1, "ffn_out": 1}
GATED: Roles = {**SEPARATE, "ffn_in": 2}


@dataclass(frozen=True)
class Layout:
    """What is to be found: how often each role, outside the layers and in each; and what is skipped, why."""

    outside: Roles
    layers: tuple[Roles, ...]
    skipped: dict[str, str] = field(default_factory=dict)


FUSED_TABLES = {"EmbedLayerNormalization_0": "has its tables fused in"}
ROTARY_FREQUENCIES = {"node_matmul": "has its constant operand on the left"}
CLASSIFIER: Roles = {"embedding": 3, "pooler": 1, "classifier": 1}
NARROW: Roles = {**CLASSIFIER, "other": 1}
FUSED_BERT = Layout({"pooler": 1, "classifier": 1}, (PACKED, PACKED), FUSED_TABLES)
DECODER: Roles = {"embedding": 2, "classifier": 1}
LLAMA = Layout({"embedding": 1, "classifier": 1}, (GATED, GATED))

LAYOUTS: dict[str, dict[str, Layout]] = {
    "bert": {
        **dict.fromkeys(EXPORTS["bert"], Layout(CLASSIFIER, (SEPARATE, SEPARATE))),
        **dict.fromkeys(("fused_level0", "fused_level1", "fused_level2"), FUSED_BERT),
    },
    "distilbert": {
        **dict.fromkeys(("optimum", "dynamo"), Layout({**CLASSIFIER, "embedding": 2}, (SEPARATE, SEPARATE))),
        # The optimizer leaves the old lookup beside the fused one, where its shape is read.
        "fused_level1": Layout(
            {"pooler": 1, "classifier": 1},
            (PACKED, PACKED),
            {**FUSED_TABLES, "/distilbert/embeddings/word_embeddings/Gather": "shares its weight"},
        ),
    },
    "roberta": {
        **dict.fromkeys(EXPORTS["roberta"], Layout(CLASSIFIER, (SEPARATE, SEPARATE))),
        "fused_level1": Layout(CLASSIFIER, (PACKED, PACKED)),
    },
    # Words, positions, relative positions; optimum exports no pooler.
    "mpnet": {
        **dict.fromkeys(("optimum", "fused_level1"), Layout({"embedding": 3}, (SEPARATE, SEPARATE))),
        "dynamo": Layout({"embedding": 3, "pooler": 1}, (SEPARATE, SEPARATE)),
        "dynamo_fused": Layout({"embedding": 1, "pooler": 1}, (SEPARATE, SEPARATE), FUSED_TABLES),
    },
    # Both layers share their weights. dynamo folds a transpose of its own into each layer and merges what is equal up to
    # 1024 entries only: not the FFN. The optimizer packs query, key and value of the second layer only.
    "albert": {
        "optimum": Layout(NARROW, (SEPARATE,)),
        "dynamo": Layout(NARROW, (SEPARATE, {"ffn_in": 1, "ffn_out": 1})),
        "fused_level1": Layout(NARROW, (SEPARATE, {"query_key_value": 1})),
    },
    "electra": {
        **dict.fromkeys(("optimum", "dynamo"), Layout(NARROW, (SEPARATE, SEPARATE))),
        "fused_level1": Layout({"pooler": 1, "classifier": 1, "other": 1}, (PACKED, PACKED), FUSED_TABLES),
    },
    "gpt2": dict.fromkeys(EXPORTS["gpt2"], Layout(DECODER, (PACKED, PACKED))),
    "llama": {
        **dict.fromkeys(EXPORTS["llama"], LLAMA),
        "dynamo": Layout(LLAMA.outside, LLAMA.layers, ROTARY_FREQUENCIES),
    },
    "deberta": {"optimum": Layout({**CLASSIFIER, "embedding": 1}, (SEPARATE, SEPARATE))},
    "modernbert": {"optimum": Layout({**CLASSIFIER, "embedding": 1}, (PACKED, PACKED))},
    "phi": {"optimum": Layout({"embedding": 1, "classifier": 1}, (SEPARATE, SEPARATE))},
}

ALL = [
    pytest.param(architecture, exporter, id=f"{architecture} by {exporter}")
    for architecture, exporters in EXPORTS.items()
    for exporter in exporters
]
FLOAT32 = [parameter for parameter in ALL if parameter.values[1] not in {"float16", "int8", "qdq"}]
# onnxruntime's optimizers put operators into ONNX's own domain that ONNX does not have.
UNKNOWN_TO_CHECKER = {("llama", name) for name in ("fused_level0", "fused_level1", "fused_level2", "offline")}


@pytest.fixture(scope="module")
def exports(model_cache: Path) -> Path:
    return exported_models(model_cache)


def load(exports: Path, architecture: str, exporter: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    path = exports / architecture / f"{exporter}.onnx"
    return ir.load(path), padded_batch(path)


def layout(model: ir.Model) -> tuple[Roles, tuple[Roles, ...]]:
    sites = find_sites(model).sites
    layers = range(1 + max((site.layer for site in sites if site.layer is not None), default=-1))
    outside, *inside = (Counter(str(site.role) for site in sites if site.layer == layer) for layer in (None, *layers))
    return outside, tuple(inside)


def check(model: ir.Model, architecture: str, exporter: str) -> None:
    proto = ir.to_proto(model)
    if (architecture, exporter) in UNKNOWN_TO_CHECKER:
        with pytest.raises(onnx.checker.ValidationError, match="No Op registered for SimplifiedLayerNormalization"):
            onnx.checker.check_model(proto)
    else:
        onnx.checker.check_model(proto)


@pytest.mark.parametrize(("architecture", "exporter"), [case for case in ALL if case.values[1] != "int8"])
def test_every_weight_is_found_with_its_role_and_layer(exports: Path, architecture: str, exporter: str) -> None:
    model, _ = load(exports, architecture, exporter)
    expected = LAYOUTS[architecture][exporter]
    assert layout(model) == (expected.outside, expected.layers)
    skipped = {skip.name: skip.reason for skip in find_sites(model).skipped}
    assert skipped.keys() == expected.skipped.keys()
    assert all(reason in skipped[name] for name, reason in expected.skipped.items())


def test_integer_weights_are_all_skipped(exports: Path) -> None:
    model, _ = load(exports, "bert", "int8")
    search = find_sites(model)
    assert not search.sites
    assert Counter(skip.reason.split(" ", 1)[0] for skip in search.skipped) == {"MatMulInteger": 14, "Gather": 3}


def test_quantized_weights_are_small_as_stored_and_float_as_read(exports: Path) -> None:
    model, _ = load(exports, "bert", "qdq")
    for site in find_sites(model).sites:
        assert site.weight.stored_bytes == site.parameters
        assert site.weight.dtype == ir.DataType.FLOAT


@pytest.mark.parametrize(("architecture", "exporter"), FLOAT32)
def test_full_rank_factors_reproduce_the_outputs(exports: Path, architecture: str, exporter: str) -> None:
    model, feeds = load(exports, architecture, exporter)
    expected = run(model, feeds)
    for site in find_sites(model).sites:
        factor_fully(model, site)
    check(model, architecture, exporter)
    for level in LEVELS:
        for actual, output in zip(run(model, feeds, level), expected, strict=True):
            np.testing.assert_allclose(actual, output, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("exporter", "tolerance"),
    [pytest.param("float16", 1e-2, id="half precision"), pytest.param("qdq", 1e-4, id="quantized weights")],
)
def test_full_rank_factors_are_as_good_as_the_type_of_the_weights(
    exports: Path, exporter: str, tolerance: float
) -> None:
    model, feeds = load(exports, "bert", exporter)
    (expected,) = run(model, feeds)
    for site in find_sites(model).sites:
        factor_fully(model, site)
    check(model, "bert", exporter)
    np.testing.assert_allclose(run(model, feeds)[0], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("architecture", "exporter"), FLOAT32)
def test_truncated_factors_give_the_outputs_of_their_product(exports: Path, architecture: str, exporter: str) -> None:
    factored, feeds = load(exports, architecture, exporter)
    dense, _ = load(exports, architecture, exporter)
    before = run(dense, feeds)
    for site, twin in zip(find_sites(factored).sites, find_sites(dense).sites, strict=True):
        left, right = svd_factors(site.weight.numpy(), max(1, site.break_even_rank))
        factor_site(factored, site, left, right)
        replace_weight(dense, twin, left @ right)
    outputs = run(dense, feeds)
    assert all(np.abs(output - old).max() > 1e-2 for output, old in zip(outputs, before, strict=True))
    for actual, output in zip(run(factored, feeds), outputs, strict=True):
        np.testing.assert_allclose(actual, output, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("architecture", "exporter"), FLOAT32)
def test_what_was_factored_before_is_found_again(exports: Path, architecture: str, exporter: str) -> None:
    model, _ = load(exports, architecture, exporter)
    outside, layers = layout(model)
    for site in find_sites(model).sites:
        factor_fully(model, site)
    twice = [{role: 2 * count for role, count in roles.items()} for roles in (outside, *layers)]
    assert layout(model) == (twice[0], tuple(twice[1:]))


@pytest.mark.parametrize(
    ("architecture", "exporter"),
    [
        ("bert", "fused_level2"),
        ("bert", "qdq"),
        ("distilbert", "fused_level1"),
        ("roberta", "optimum"),
        ("modernbert", "optimum"),
    ],
)
def test_tables_with_the_rows_of_some_tokens_answer_these_as_before(
    exports: Path, architecture: str, exporter: str
) -> None:
    model, feeds = load(exports, architecture, exporter)
    kept = np.union1d(feeds["input_ids"], range(4))  # RoBERTa counts positions from the padding, 1
    expected = run(model, feeds)
    keep_rows(find_token_tables(model), kept.tolist())
    renumbered = np.searchsorted(kept, feeds["input_ids"]).astype(feeds["input_ids"].dtype)
    for answer, before in zip(run(model, {**feeds, "input_ids": renumbered}), expected, strict=True):
        np.testing.assert_array_equal(answer, before)
