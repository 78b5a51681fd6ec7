"""``optimize --floor``: the least that every weight, or one of a role, keeps of its parameters."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCli
from tests.tiny_encoder import SENTENCES, write_model_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("floor")
    write_model_folder(folder / "model")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    return folder


def command(work: Path, out: str, *options: str) -> list[str | Path]:
    return ["optimize", work / "model", "-o", work / out, "--keep", "0.5", "--quiet", *options]


def plan_of(out: Path) -> Any:
    return json.loads((out / "plan.json").read_text(encoding="utf-8"))


def shares(plan: Any) -> dict[str, float]:
    """Return the least share that any site of a role keeps."""
    least: dict[str, float] = {}
    for site in plan["sites"]:
        rows, columns = site["shape"]
        kept = site["kept_shape"] or site["shape"]
        size = kept[0] * kept[1] if site["rank"] is None else site["rank"] * (rows + columns)
        least[site["role"]] = min(least.get(site["role"], 1.0), size / (rows * columns))
    return least


def test_holds_for_its_role_and_the_others_have_the_common_one(run_cli: RunCli, work: Path) -> None:
    text = ("--calibration", str(work / "text"))
    assert run_cli(*command(work, "free", *text)).returncode == 0
    done = run_cli(*command(work, "held", *text, "--floor", "0.2", "--floor", "query=0.6", "--floor", "ffn_in=0.4"))
    assert (done.returncode, done.stderr) == (0, "")
    free, held = plan_of(work / "free"), plan_of(work / "held")
    assert shares(free)["query"] < 0.6
    assert shares(held)["query"] >= 0.6
    assert shares(held)["ffn_in"] >= 0.4
    assert min(shares(held).values()) >= 0.2
    assert held["budget"] == {"keep": 0.5, "floor": {"all": 0.2, "query": 0.6, "ffn_in": 0.4}}
    assert free["budget"] == {"keep": 0.5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--floor", "much"], "--floor is a float from 0 to 1, alone or as ROLE=F; got 'much'"),
        (["--floor", "query=2"], "--floor is a float from 0 to 1, alone or as ROLE=F; got 2.0 for query"),
        (["--floor", "head=0.5"], "--floor is one of all, query"),
        (["--floor", "0.2", "--floor", "0.3"], "--floor 0.3: the floor of all was given before"),
        (
            ["--floor", "0.2"],
            "--floor is kept by --method whiten, fisher, soco (which needs --calibration), not by svd",
        ),
        (["--floor", "0.2", "--method", "squeeze"], "--floor is kept by --method whiten"),
        (
            ["--floor", "embedding=0.2", "--calibration", "TEXT"],
            "--floor embedding=0.2: no eligible weight has this role",
        ),
        (["--floor", "0.6", "--calibration", "TEXT"], "--keep 0.5 is too little: with the floors asked for"),
    ],
)
def test_refuses(call_cli: RunCli, work: Path, options: list[str], message: str) -> None:
    given = [str(work / "text") if option == "TEXT" else option for option in options]
    done = call_cli(*command(work, "refused", *given))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"squeeze-onnx: error: {message}")
    assert not (work / "refused").exists()


def test_has_no_say_beside_a_plan(call_cli: RunCli, work: Path) -> None:
    given = ("optimize", work / "model", "-o", work / "refused", "--plan", "plan.json", "--floor", "0.2")
    done = call_cli(*given)
    assert done.returncode == 2
    assert "--plan already says what becomes of each site; leave out --floor" in done.stderr
