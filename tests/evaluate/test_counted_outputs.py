"""Which outputs are an answer: the left ones count, the right ones do not."""

import pytest

from squeeze_onnx.evaluate.counted_outputs import counted_outputs
from tests.graph.tiny_graphs import tiny_model

OUT = "float[B,T,4]"


@pytest.mark.parametrize(
    ("outputs", "nodes", "counted"),
    [
        (("logits", "present_0_key"), "present_0_key = Abs(x) logits = Exp(present_0_key)", ("logits",)),
        (("logits", "kept"), "kept = Abs(x) logits = Exp(kept)", ("logits",)),
        (("logits", "present_key_values"), "present_key_values = Abs(x) logits = Exp(x)", ("logits",)),
        (("logits", "hidden_states_1"), "hidden_states_1 = Abs(x) logits = Exp(hidden_states_1)", ("logits",)),
        (
            ("last_hidden_state", "pooler_output"),
            "last_hidden_state = Abs(x) pooler_output = Exp(last_hidden_state)",
            ("last_hidden_state", "pooler_output"),
        ),
        (("starts", "ends"), "starts, ends = Split<axis=-1,num_outputs=2>(x)", ("starts", "ends")),
        (("present_0_key",), "present_0_key = Abs(x)", ("present_0_key",)),
        (("represented",), "represented = Abs(x)", ("represented",)),
    ],
    ids=["a cache", "a step", "a cache apart", "hidden states", "a pooler", "a span", "a cache alone", "another word"],
)
def test_what_counts(outputs: tuple[str, ...], nodes: str, counted: tuple[str, ...]) -> None:
    model = tiny_model(f"g ({OUT} x) => ({', '.join(f'{OUT} {name}' for name in outputs)}) {{ {nodes} }}")
    assert counted_outputs(model.graph) == counted
    assert counted_outputs(model.graph, "z") == ("z",)
