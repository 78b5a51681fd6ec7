"""Mutants: what is changed, what is left alone, and that a change is all there is to one."""

import ast
from pathlib import Path

import pytest

from tools.mutant_process import KILLED, STILLBORN, SURVIVED
from tools.mutate import TARGETS, Journal, Target, counted, equivalents, key_of, sampled
from tools.mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[2]


def mutants(folder: Path, source: str) -> list[Mutant]:
    (folder / "module.py").write_text(source, encoding="utf-8")
    return list(mutants_of(folder, "module.py"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("x < y", ["x <= y", "x >= y"], id="comparison"),
        pytest.param("x < y < z", ["x <= y < z", "x >= y < z", "x < y <= z", "x < y >= z"], id="comparisons in a row"),
        pytest.param("x + y", ["x - y"], id="arithmetic"),
        pytest.param("x and y", ["x or y", "x", "y"], id="logic"),
        pytest.param("x if y else z", ["x if not y else z"], id="condition"),
        pytest.param("[x for x in y if x]", ["[x for x in y if not x]"], id="filter"),
        pytest.param("not x", ["x"], id="negation"),
        pytest.param("x[3]", ["x[4]", "x[2]"], id="whole number"),
        pytest.param("x[0.5]", ["x[1.0]", "x[0.25]"], id="other number"),
        pytest.param("x[True]", ["x[False]"], id="truth value"),
        pytest.param("max(*x)", ["min(*x)"], id="function of the same kind"),
        pytest.param("np.sqrt(x)", ["x"], id="function of one argument"),
        pytest.param("f(x, y, z)", ["f(y, x, z)", "f(x, z, y)"], id="arguments"),
        pytest.param("f(x=y)", ["f()"], id="keyword"),
        pytest.param("zip(x, y, strict=True)", ["zip(y, x, strict=True)"], id="not strict=True"),
        pytest.param("float(x)", [], id="not a conversion"),
        pytest.param("'text'", [], id="not text"),
    ],
)
def test_an_expression_has_the_mutants(tmp_path: Path, source: str, expected: list[str]) -> None:
    found = [ast.unparse(mutant.tree) for mutant in mutants(tmp_path, f"v = {source}")]
    assert found == [f"v = {each}" for each in expected]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("x.f()", ["pass"], id="call for its effect"),
        pytest.param("x.y = z", ["pass"], id="attribute"),
        pytest.param("x = z", ["pass"], id="argument bound again"),
        pytest.param("y = z", [], id="not a name's first value"),
        pytest.param("raise E", ["pass"], id="error"),
        pytest.param("return x", ["return 0.0"], id="what is returned"),
        pytest.param("assert x > 1", [], id="not an assertion"),
        pytest.param("y: Literal[1] = z", [], id="not a type"),
    ],
)
def test_a_statement_has_the_mutants(tmp_path: Path, body: str, expected: list[str]) -> None:
    head = "def f(x: A[1]) -> float:\n    "
    found = [ast.unparse(mutant.tree) for mutant in mutants(tmp_path, head + body)]
    assert found == [head + each for each in expected]


def test_a_mutant_says_where_it_is_and_what_differs(tmp_path: Path) -> None:
    source = "class C:\n    def f(self):\n        return self.g((1 - b) * c)\n"
    [first, *_] = mutants(tmp_path, source)
    assert (first.file, first.line, first.scope) == ("module.py", 3, "C.f")
    assert (first.before, first.after) == ("self.g((1 - b) * c)", "(1 - b) * c")


def test_every_file_of_a_sample_is_in_it(tmp_path: Path) -> None:
    few, many = (
        [Mutant(name, line, "", "", "", ast.Module([], [])) for line in range(count)]
        for name, count in (("few", 2), ("many", 98))
    )
    drawn = sampled([*few, *many], 20, seed=0)
    assert [mutant.file for mutant in drawn] == ["few"] + ["many"] * 20
    assert drawn == sampled([*few, *many], 20, seed=0) != sampled([*few, *many], 20, seed=1)


def test_what_is_listed_as_equivalent_is_a_mutant() -> None:
    every = {
        key_of(mutant) for target in TARGETS.values() for file in target.paths() for mutant in mutants_of(ROOT, file)
    }
    assert not equivalents().keys() - every


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_file_that_can_be_changed_has_tests(target: Target) -> None:
    for file in target.paths():
        if any(mutants_of(ROOT, file)):
            mirrored = Path("tests", *Path(file).parts[1:-1], f"test_{Path(file).name}")
            assert str(mirrored) in target.tests_of(file)


def test_a_journal_keeps_what_was_killed_and_lets_survivors_be_tried_again(tmp_path: Path) -> None:
    killed, survived = mutants(tmp_path, "v = x + y < z")[:2]
    journal = Journal(tmp_path / "journal")
    journal.add(killed, KILLED)
    journal.add(survived, SURVIVED)
    again = Journal(tmp_path / "journal")
    assert [again.outcome(mutant) for mutant in (killed, survived)] == [KILLED, None]


def test_the_share_is_of_what_can_be_imported_and_equivalents_are_told_apart(tmp_path: Path) -> None:
    every = mutants(tmp_path, "v = x < y < z")
    outcomes = (KILLED, SURVIVED, SURVIVED, STILLBORN)
    found = counted(list(zip(every, outcomes, strict=True)), {key_of(every[1]): "no test can tell"}, total=40)
    assert (found["mutants"], found["tried"]) == (40, 3)
    assert found["outcomes"] == {KILLED: 1, "equivalent": 1, SURVIVED: 1}
    assert (found["killed_of_all"], found["killed_of_killable"]) == (0.3333, 0.5)
    assert [survivor["equivalent"] for survivor in found["survivors"]] == ["no test can tell", None]
