from squeeze_onnx.support.processor import instruction_sets
from squeeze_onnx.workflows.doctor import ABILITIES, Ability, examine


def test_what_is_installed_is_present_and_what_is_not_is_not() -> None:
    assert Ability("count", "numpy", "").present
    assert not Ability("fly", "no_such_module_anywhere", "").present
    assert not Ability("fly high", "no_such_module_anywhere.high", "").present
    assert not Ability("count on", "json.no_such_module", "").present


def test_the_examination_names_every_ability_and_provider() -> None:
    found = examine()
    assert [entry["what"] for entry in found["abilities"]] == [ability.what for ability in ABILITIES]
    assert found["providers"]["cpu"] is True
    assert found["environment"]["packages"]["numpy"]
    assert found["environment"]["instruction_sets"] == list(instruction_sets())
