from pathlib import Path

import pytest

from squeeze_onnx.support.errors import OptionError
from squeeze_onnx.workflows.recipe import read_recipe

FULL = """
model = "bert"
output = "out/small"
cache = "/cache"

[optimize]
keep = 0.5
method = "whiten"
exclude = ["query"]
floor = { all = 0.2 }
distill = "auto"

[calibration]
source = "glue:sst2"
data = "glue"
rows = 64

[validate]
task = "sst2"
data = "nyu-mll/glue"
max_drop = 1
providers = ["cpu"]

[package]
output = "small.zip"
form = "ort"
"""


def recipe(folder: Path, text: str) -> Path:
    path = folder / "squeeze.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_table_is_the_config_of_its_command(tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    found = read_recipe(recipe(tmp_path, FULL))
    assert (found.places.model, found.places.output) == (tmp_path / "bert", tmp_path / "out" / "small")
    assert found.places.cache == Path("/cache")
    assert (found.optimize.keep, found.optimize.exclude, found.optimize.distill) == (0.5, ("query",), "auto")
    assert found.optimize.floor == {"all": 0.2}
    assert found.calibration is not None
    assert (found.calibration.source, found.calibration.rows) == ("glue:sst2", 64)
    assert found.search is None
    assert found.validate is not None
    assert (found.validate.max_drop, found.validate.providers) == (1, ("cpu",))
    assert found.package is not None
    assert (found.package.output, found.package.form) == (tmp_path / "small.zip", "ort")


def test_data_is_a_folder_if_there_is_one_and_else_a_name(tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    found = read_recipe(recipe(tmp_path, FULL))
    assert found.calibration is not None
    assert found.validate is not None
    assert (found.calibration.data, found.validate.data) == (tmp_path / "glue", "nyu-mll/glue")


def test_text_to_calibrate_on_lies_beside_the_recipe(tmp_path: Path) -> None:
    found = read_recipe(recipe(tmp_path, 'model = "m"\noutput = "o"\n[calibration]\nsource = "texts.txt"\n'))
    assert found.calibration is not None
    assert found.calibration.source == str(tmp_path / "texts.txt")


def test_general_text_is_no_file_beside_the_recipe(tmp_path: Path) -> None:
    found = read_recipe(recipe(tmp_path, 'model = "m"\noutput = "o"\n[calibration]\nsource = "general:en"\n'))
    assert found.calibration is not None
    assert found.calibration.source == "general:en"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("keep = 0.5", "kepp = 0.5"), r"\[optimize\]: unknown key 'kepp'; did you mean keep"),
        (("keep = 0.5", 'keep = "half"'), r"\[optimize\]: keep is a number; got 'half'"),
        (("keep = 0.5", "keep = true"), r"\[optimize\]: keep is a number; got True"),
        (("keep = 0.5", "keep = 2.0"), r"\[optimize\]: keep is a float above 0 and up to 1; got 2.0"),
        (('"whiten"', '"magic"'), r"\[optimize\]: method is one of auto, .*got 'magic'"),
        (('["query"]', '"query"'), r"exclude is a list, each item a string; got 'query'"),
        (("{ all = 0.2 }", '{ all = "x" }'), r"floor is a table, each value a number; got"),
        (('"auto"', '"often"'), r"distill is an integer or one of auto; got 'often'"),
        (('form = "ort"', 'form = "tf"'), r"\[package\]: form is one of both, onnx, ort; got 'tf'"),
        (('output = "small.zip"\n', ""), r"\[package\]: output must be given"),
        (('source = "glue:sst2"\n', ""), r"\[calibration\]: .*'source' must be given"),
        (('output = "out/small"\n', ""), r"squeeze\.toml: .*'output' must be given"),
        (("[package]", "[pack]"), r"unknown table \[pack\]; did you mean package"),
        (('cache = "/cache"', 'cash = "/cache"'), r"unknown key 'cash'; did you mean cache"),
        (('cache = "/cache"', 'plan = "plan.json"'), r"plan already says what becomes of each site"),
        (("[optimize]\n", "optimize = 3\n[optimise]\n"), r"optimize is a table, \[optimize\]; got 3"),
        (("[optimize]", "[optimize"), r"squeeze\.toml is not TOML: .*line 6"),
    ],
    ids=lambda value: value[1].strip() if isinstance(value, tuple) else "",
)
def test_a_slip_is_named_with_its_table_and_the_way_out(tmp_path: Path, change: tuple[str, str], fault: str) -> None:
    with pytest.raises(OptionError, match=fault):
        read_recipe(recipe(tmp_path, FULL.replace(*change, 1)))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.toml cannot be read"):
        read_recipe(tmp_path / "none.toml")
