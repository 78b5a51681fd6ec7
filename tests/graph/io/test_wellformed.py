"""What is refused before onnx_ir sees it, and in which words; and what is left alone although it looks odd."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from squeeze_onnx.graph.io.wellformed import check_model
from squeeze_onnx.support.errors import ModelError
from tests.tiny_models import WEIGHT, external_tensor, full_model, matmul_model, value

PATH = Path("/models/m.onnx")


def refused(model: onnx.ModelProto, why: str) -> None:
    with pytest.raises(ModelError, match=why) as caught:
        check_model(model, PATH)
    assert str(caught.value).startswith("/models/m.onnx ")


def weight(**changes: object) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(WEIGHT, "W")
    for field, content in changes.items():
        tensor.ClearField(field)
        if isinstance(content, list):
            getattr(tensor, field).extend(content)
        elif content is not None:
            setattr(tensor, field, content)
    return tensor


class TestLeftAlone:
    def test_a_bit_of_everything(self) -> None:
        check_model(full_model(), PATH)

    def test_an_initializer_that_is_an_inputs_default(self) -> None:
        model = matmul_model()
        model.graph.input.append(value("W", [8, 4]))
        check_model(model, PATH)

    def test_nodes_out_of_order(self) -> None:
        check_model(
            matmul_model(nodes=[helper.make_node("Relu", ["h"], ["y"]), helper.make_node("MatMul", ["x", "W"], ["h"])]),
            PATH,
        )

    def test_a_domain_imported_twice_at_one_version(self) -> None:
        model = matmul_model()
        model.opset_import.append(helper.make_opsetid("ai.onnx", 17))
        check_model(model, PATH)

    @pytest.mark.parametrize(
        "tensor",
        [
            helper.make_tensor("W", onnx.TensorProto.FLOAT, [2], [1, 2]),
            helper.make_tensor("W", onnx.TensorProto.BFLOAT16, [3], [1, 2, 3]),
            helper.make_tensor("W", onnx.TensorProto.UINT32, [2], [1, 2]),
            helper.make_tensor("W", onnx.TensorProto.COMPLEX64, [2], [1j, 2]),
            helper.make_tensor("W", onnx.TensorProto.INT4, [3], [1, 2, 3]),
            helper.make_tensor("W", onnx.TensorProto.INT4, [3], b"\x21\x03", raw=True),
            helper.make_tensor("W", onnx.TensorProto.STRING, [2], ["a", "b"]),
            helper.make_tensor("W", onnx.TensorProto.FLOAT, [], [1]),
            helper.make_tensor("W", onnx.TensorProto.FLOAT, [0, 4], []),
        ],
        ids=lambda tensor: f"{onnx.TensorProto.DataType.Name(tensor.data_type)}{list(tensor.dims)}",
    )
    def test_data_in_its_typed_field(self, tensor: onnx.TensorProto) -> None:
        check_model(matmul_model(tensor), PATH)


class TestNames:
    def test_two_initializers_of_one_name(self) -> None:
        refused(matmul_model(weight(), weight()), "initializer 'W' 2 times")

    def test_two_inputs_of_one_name(self) -> None:
        model = matmul_model()
        model.graph.input.append(value("x", ["b", 8]))
        refused(model, "graph input 'x' 2 times")

    def test_two_nodes_that_make_one_value(self) -> None:
        refused(matmul_model(nodes=[helper.make_node("MatMul", ["x", "W"], ["y"])] * 2), "value 'y' 2 times")

    def test_a_node_that_makes_an_initializer(self) -> None:
        refused(matmul_model(nodes=[helper.make_node("Relu", ["x"], ["W"])], outputs=("W",)), "value 'W' 2 times")

    def test_an_initializer_without_a_name(self) -> None:
        refused(matmul_model(weight(), weight(name="")), "initializer without a name")

    def test_a_value_that_nobody_makes(self) -> None:
        refused(
            matmul_model(nodes=[helper.make_node("MatMul", ["x", "V"], ["y"], name="n")]),
            r"no value 'V'.*'n' \(MatMul\)",
        )

    def test_an_output_that_nobody_makes(self) -> None:
        refused(matmul_model(outputs=("y", "z")), "no value 'z', which is declared an output")

    def test_a_value_of_a_subgraph_used_outside_of_it(self) -> None:
        model = full_model()
        model.graph.node[1].input[1] = "W_then"
        refused(model, "no value 'W_then'")

    def test_a_fault_inside_a_subgraph(self) -> None:
        model = full_model()
        model.graph.node[0].attribute[0].g.node[0].input[1] = "nowhere"
        refused(model, "no value 'nowhere'")

    def test_a_fault_inside_a_function(self) -> None:
        model = full_model()
        model.functions[0].node[1].input[1] = "x"  # exists in the main graph, which a function does not see
        refused(model, "no value 'x'")

    def test_two_functions_of_one_name(self) -> None:
        model = full_model()
        model.functions.append(model.functions[0])
        refused(model, r"function 'local\.Shift:' 2 times")

    def test_two_versions_of_one_domain(self) -> None:
        model = matmul_model()
        model.opset_import.append(helper.make_opsetid("ai.onnx", 18))
        refused(model, "opset version of 'ai.onnx' 2 times")

    def test_two_attributes_of_one_name(self) -> None:
        model = full_model()
        model.graph.node[-1].attribute[1].name = "a"
        refused(model, "attribute of node.*'a' 2 times")

    @pytest.mark.parametrize("text", [b"linear", b"\x01W", b"tiny"], ids=["node name", "value name", "graph name"])
    def test_a_name_that_is_not_text(self, text: bytes) -> None:
        garbled = matmul_model().SerializeToString().replace(text, text[:-1] + b"\xff")
        refused(onnx.ModelProto.FromString(garbled), "is not text")


class TestTensors:
    @pytest.mark.parametrize(
        ("tensor", "why"),
        [
            pytest.param(weight(raw_data=b"\0" * 127), r"127 items of raw_data .*'W' where FLOAT\[8, 4\] needs 128", id="short"),
            pytest.param(weight(raw_data=b"\0" * 129), "needs 128", id="long"),
            pytest.param(weight(raw_data=None), "0 items of float_data", id="no data"),
            pytest.param(weight(raw_data=None, float_data=[0.0] * 31), "31 items of float_data", id="short typed data"),
            pytest.param(weight(raw_data=None, double_data=[0.0] * 32), "0 items of float_data", id="data in another field"),
            pytest.param(weight(data_type=0), "unknown element type 0", id="no type"),
            pytest.param(weight(data_type=999), "unknown element type 999", id="a type from the future"),
            pytest.param(weight(dims=[-8, -4]), r"impossible shape \[-8, -4\]", id="negative dimensions"),
            pytest.param(weight(dims=[2**62, 2**62]), "needs", id="a shape beyond all memory"),
            pytest.param(
                weight(data_type=onnx.TensorProto.STRING), "0 items of string_data", id="strings in raw data"
            ),
            pytest.param(
                external_tensor("W", "w.bin", WEIGHT.astype(np.str_)), "strings of .* in a data file", id="external strings"
            ),
        ],
    )  # fmt: skip
    def test_without_the_data_they_need(self, tensor: onnx.TensorProto, why: str) -> None:
        refused(matmul_model(tensor), why)

    def test_in_a_constant_node_are_checked_too(self) -> None:
        model = full_model()
        model.functions[0].node[0].attribute[0].t.dims[0] = 5
        refused(model, r"the tensor of node '' \(Constant\)")


class TestLostInLoading:
    """onnx_ir would drop these, or fail on them later."""

    def test_sparse_initializers(self) -> None:
        model = matmul_model()
        model.graph.sparse_initializer.add()
        refused(model, "sparse tensors")

    def test_training_graphs(self) -> None:
        model = matmul_model()
        model.training_info.add()
        refused(model, "training graphs")

    def test_maps(self) -> None:
        model = matmul_model()
        model.graph.output[0].type.map_type.key_type = onnx.TensorProto.INT64
        refused(model, "ZipMap")

    @pytest.mark.parametrize("kind", ["UNDEFINED", "TENSOR", "GRAPH"])
    def test_attributes_without_a_value(self, kind: str) -> None:
        model = full_model()
        model.graph.node[-1].attribute.add(name="empty", type=kind)
        refused(model, "no value for attribute 'empty' of node")

    def test_references_to_a_graph_attribute(self) -> None:
        model = full_model()
        model.functions[0].node[1].attribute.add(name="body", type="GRAPH", ref_attr_name="body")
        refused(model, "no value for attribute 'body'")

    def test_lists_of_external_tensors(self, tmp_path: Path) -> None:
        (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
        model = full_model()
        model.graph.node[-1].attribute.add(name="list", type="TENSORS", tensors=[external_tensor("", "w.bin")])
        with pytest.raises(ModelError, match="a list of tensors of node"):
            check_model(model, tmp_path / "m.onnx")

    def test_external_defaults_of_functions(self, tmp_path: Path) -> None:
        (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
        model = full_model()
        model.functions[0].attribute_proto.add(name="default", type="TENSOR", t=external_tensor("", "w.bin"))
        with pytest.raises(ModelError, match="a default of function 'Shift'"):
            check_model(model, tmp_path / "m.onnx")
