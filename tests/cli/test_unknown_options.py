import pytest

from tests.conftest import RunCli


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("optimize x -o y --junit z", "optimize has no option --junit; it is one of validate and run"),
        ("validate x y --keep 3", "validate has no option --keep; it is one of optimize and demo"),
        ("optimize x -o y --rows 3", "optimize has no option --rows: it is called --calibration-rows here"),
        ("optimize x -o y --max-tokens 3", "optimize has no option --max-tokens: it is called --max-length here"),
        ("optimize x -o y --kepp 3", "optimize has no option --kepp; did you mean --keep?"),
        ("--qqqqqqqq", "squeeze-onnx has no option --qqqqqqqq; see --help"),
    ],
)
def test_an_option_that_a_command_does_not_have(call_cli: RunCli, arguments: str, sentence: str) -> None:
    done = call_cli(*arguments.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"squeeze-onnx: error: {sentence}\n"
