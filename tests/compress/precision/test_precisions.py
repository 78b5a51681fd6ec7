"""Each precision on a tiny graph: close to what it was, smaller, and it says what it did."""

import numpy as np
import onnx_ir as ir
import pytest

from squeeze_onnx.compress.precision import PRECISIONS, DynamicInt8, Evidence, Float16, Int4, Int8Int4Tables, StaticInt8
from squeeze_onnx.graph.io.streaming import stream_model
from squeeze_onnx.support.errors import ModelError, OptionError
from tests.compress.precision.tiny import (
    FEEDS,
    OUT,
    RANK,
    SITES,
    WIDTH,
    WORDS,
    batches,
    block,
    factored_table,
    two_tables,
)
from tests.graph.execution import run

RNG = np.random.default_rng(0)
EVIDENCE = Evidence(batches())


def relative_error(model: ir.Model, reference: ir.Model) -> float:
    [found], [expected] = run(model, FEEDS), run(reference, FEEDS)
    assert found.dtype == np.float32
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected - expected.mean(axis=0)))


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("fp32", 0), ("fp16", 3e-3), ("int8", 0.05), ("int8-static", 0.06), ("int8-int4", 0.2), ("int4", 0.25)],
)
def test_outputs_stay_close_and_under_their_name(name: str, tolerance: float) -> None:
    lowered = PRECISIONS[name]().lower(block(), EVIDENCE)
    assert relative_error(lowered.model, block()) <= tolerance
    assert [value.name for value in lowered.model.graph.outputs] == ["y"]


@pytest.mark.parametrize("rank", [8, 16], ids=["no whole blocks", "whole blocks"])
@pytest.mark.parametrize(("name", "tolerance"), [("int8", 0.05), ("int8-static", 0.05), ("int8-int4", 0.25)])
def test_the_factors_of_a_table_stay_a_pair(name: str, tolerance: float, rank: int) -> None:
    """A right factor that is fitted to another left one than the file has would destroy every output."""
    lowered = PRECISIONS[name]().lower(factored_table(rank), Evidence(batches(), kept=()))
    assert relative_error(lowered.model, factored_table(rank)) <= tolerance


@pytest.mark.parametrize("rank", [8, 16], ids=["no whole blocks", "whole blocks"])
@pytest.mark.parametrize("name", ["int8", "int8-static", "int8-int4"])
def test_the_factors_of_a_table_that_stay_are_what_they_were(name: str, rank: int) -> None:
    lowered = PRECISIONS[name]().lower(factored_table(rank), Evidence(batches(), kept=("table/left", "table")))
    assert relative_error(lowered.model, factored_table(rank)) < 0.01


@pytest.mark.parametrize("name", ["fp16", "int8", "int8-static", "int8-int4", "int4"])
def test_large_weights_take_fewer_bytes(name: str) -> None:
    wide = {
        "table": RNG.standard_normal((2000, WIDTH)),
        "right": RNG.standard_normal((RANK, 64)),
        "head": np.ones((4, 64)),
    }
    before = stream_model(block(**wide)).size
    after = stream_model(PRECISIONS[name]().lower(block(**wide), Evidence(batches(), kept=())).model).size
    assert after < {"fp16": 0.52, "int8": 0.35, "int8-static": 0.35, "int8-int4": 0.25, "int4": 0.25}[name] * before


class TestInt8:
    def test_tables_products_and_gemms_become_integers(self) -> None:
        lowered = DynamicInt8().lower(block(), EVIDENCE)
        assert lowered.lowered == SITES
        assert ops(lowered.model).count("MatMulInteger") == 3
        assert not {"MatMul", "Gemm"} & set(ops(lowered.model))
        kinds = {value.const_value.dtype for value in lowered.model.graph.initializers.values() if value.const_value}
        assert ir.DataType.INT8 in kinds
        assert set(lowered.output_error) == set(SITES)

    def test_a_table_has_a_scale_for_each_column(self) -> None:
        table = RNG.standard_normal((WORDS, WIDTH)) * np.geomspace(1e-3, 1e3, WIDTH)
        left = RNG.standard_normal((WIDTH, RANK)) / np.geomspace(1e-3, 1e3, WIDTH)[:, None]
        sites = (
            PRECISIONS["int8"]().lower(block(table=table, left=left), Evidence(kept=("left", "right", "head"))).model
        )
        assert relative_error(sites, block(table=table, left=left)) < 0.03

    def test_factors_of_very_different_width_are_balanced(self) -> None:
        widths = np.geomspace(1e-3, 1e3, RANK)
        factors = {
            "left": RNG.standard_normal((WIDTH, RANK)) / np.sqrt(WIDTH) * widths,
            "right": RNG.standard_normal((RANK, OUT)) / np.sqrt(RANK) / widths[:, None],
        }
        assert relative_error(DynamicInt8().lower(block(**factors), EVIDENCE).model, block(**factors)) < 0.05

    def test_a_site_that_hurts_stays_float32(self) -> None:
        right = RNG.standard_normal((RANK, OUT))
        head = RNG.standard_normal((4, OUT)) / 10
        head[:, 0] = 1e4 * (
            1 + RNG.random(4)
        )  # rounding the others away, while the channel it meets is all but constant
        right[:, 0] = 0
        lowered = DynamicInt8().lower(block(right=right, head=head), EVIDENCE)
        assert [site.name for site in lowered.kept] == ["head"]
        assert "alone it would move the outputs by" in lowered.kept[0].reason
        assert lowered.lowered == ("table", "left", "right")
        assert relative_error(lowered.model, block(right=right, head=head)) < 0.1

    def test_without_data_everything_is_quantized_and_the_report_says_so(self) -> None:
        lowered = DynamicInt8().lower(block(), Evidence())
        assert lowered.lowered == SITES
        assert lowered.predicted is None
        assert "no output error was measured" in lowered.notes[0]

    def test_a_plan_names_what_stays(self) -> None:
        lowered = DynamicInt8().lower(block(), Evidence(batches(), kept=("head", "table")))
        assert lowered.lowered == ("left", "right")
        assert ops(lowered.model).count("MatMul") == 1

    def test_a_plan_for_another_model_is_refused(self) -> None:
        with pytest.raises(OptionError, match="'elsewhere'"):
            DynamicInt8().lower(block(), Evidence(kept=("elsewhere",)))

    def test_old_opsets_are_refused(self) -> None:
        model = block()
        model.opset_imports[""] = 11
        with pytest.raises(ModelError, match="opset 13"):
            DynamicInt8().lower(model, Evidence())

    def test_static_ranges_need_data(self) -> None:
        with pytest.raises(OptionError, match="int8-static takes ranges from data"):
            StaticInt8().lower(block(), Evidence())

    def test_static_ranges_are_constants_of_the_graph(self) -> None:
        model = StaticInt8().lower(block(), EVIDENCE).model
        assert "DynamicQuantizeLinear" not in ops(model)
        assert ops(model).count("QuantizeLinear") == 3


class TestInt8Int4:
    def test_tables_lie_in_blocks_and_products_are_integers(self) -> None:
        lowered = Int8Int4Tables().lower(block(), Evidence())
        assert lowered.lowered == SITES
        assert ops(lowered.model).count("GatherBlockQuantized") == 1
        assert ops(lowered.model).count("MatMulInteger") == 3

    def test_a_table_that_hurts_takes_eight_bits(self) -> None:
        lowered = Int8Int4Tables().lower(block(), Evidence(batches(), kept=("table",)))
        assert [(site.name, site.reason) for site in lowered.kept] == [("table", "eight bits: as the plan says")]
        assert "GatherBlockQuantized" not in ops(lowered.model)
        assert relative_error(lowered.model, block()) < 0.05

    def test_a_table_that_is_no_multiple_of_a_block_takes_eight_bits(self) -> None:
        narrow = {"table": RNG.standard_normal((WORDS, 20)), "left": RNG.standard_normal((20, RANK))}
        lowered = Int8Int4Tables().lower(block(**narrow), Evidence())
        assert "table" in lowered.lowered
        assert "GatherBlockQuantized" not in ops(lowered.model)

    def test_a_small_table_beside_a_large_one_takes_eight_bits(self) -> None:
        lowered = Int8Int4Tables().lower(two_tables(), Evidence())
        assert lowered.lowered == ("words", "types")
        bits = {
            node.name: node.attributes["bits"].as_int() for node in lowered.model.graph if "bits" in node.attributes
        }
        assert list(bits.values()) == [4]
        assert ops(lowered.model).count("Gather") == 1


class TestInt4:
    def test_products_and_tables_lie_in_blocks(self) -> None:
        lowered = Int4(most_output_error=10).lower(block(), EVIDENCE)
        assert lowered.lowered == SITES
        assert ops(lowered.model).count("GatherBlockQuantized") == 1
        assert ops(lowered.model).count("MatMulNBits") == 3

    def test_a_correction_makes_up_for_what_rounding_loses(self) -> None:
        random = np.random.default_rng(5)
        wide = {"left": random.standard_normal((WIDTH, 32)) / 6, "right": random.standard_normal((32, OUT)) / 6}
        evidence = Evidence(batches(), kept=())
        errors = [
            relative_error(Int4(correction_share=share).lower(block(**wide), evidence).model, block(**wide))
            for share in (0, 4)
        ]
        assert errors[1] < 0.8 * errors[0]

    def test_sites_that_hurt_take_eight_bits(self) -> None:
        lowered = Int4(most_output_error=1e-3).lower(block(), EVIDENCE)
        bits = [node.attributes["bits"].as_int() for node in lowered.model.graph if "bits" in node.attributes]
        assert 8 in bits
        assert all(site.reason.startswith("eight bits") for site in lowered.kept)
        assert relative_error(lowered.model, block()) < 0.1

    def test_a_table_that_is_no_multiple_of_a_block_stays_and_is_named(self) -> None:
        narrow = {"table": RNG.standard_normal((WORDS, 20)), "left": RNG.standard_normal((20, RANK))}
        lowered = Int4().lower(block(**narrow), Evidence())
        assert "table" not in lowered.lowered
        assert any(note.startswith("table stays float32") for note in lowered.notes)
        assert relative_error(lowered.model, block(**narrow)) < 0.3


class TestFloat16:
    def test_weights_are_float16_and_inputs_and_outputs_what_they_were(self) -> None:
        model = Float16().lower(block(), EVIDENCE).model
        assert model.graph.outputs[0].dtype == ir.DataType.FLOAT
        kinds = {value.dtype for value in model.graph.initializers.values()}
        assert kinds == {ir.DataType.FLOAT16}

    def test_what_overflows_stays_in_float32(self) -> None:
        large = {"left": RNG.standard_normal((WIDTH, RANK)) * 1e5, "right": RNG.standard_normal((RANK, OUT)) * 1e-6}
        lowered = Float16().lower(block(**large), EVIDENCE)
        assert {site.name for site in lowered.kept} == {"left", "right"}
        assert "more than float16 holds" in lowered.kept[0].reason
        assert relative_error(lowered.model, block(**large)) < 0.01
        again = Float16().lower(block(**large), Evidence(kept=("left", "right")))
        assert relative_error(again.model, block(**large)) < 0.01

    def test_without_data_no_range_is_checked_and_the_report_says_so(self) -> None:
        assert "no range was checked" in Float16().lower(block(), Evidence()).notes[0]

    def test_a_plan_for_another_model_is_refused(self) -> None:
        with pytest.raises(OptionError, match="'elsewhere'"):
            Float16().lower(block(), Evidence(kept=("elsewhere",)))
