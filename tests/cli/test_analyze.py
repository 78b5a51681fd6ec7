import json
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.folders import snapshot
from tests.tiny_encoder import ELIGIBLE_PARAMETERS, ELIGIBLE_SITES, LAYER_SITES, encoder_model, write_model_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("analyze") / "model", encoder_model(classifier=True))


def test_prints_a_row_per_site_and_writes_json_and_html(run_cli: RunCli, model: Path, tmp_path: Path) -> None:
    before = snapshot(model)
    done = run_cli("analyze", model, "--json", tmp_path / "a.json", "--html", tmp_path / "new" / "a.html")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    lines = done.stdout.splitlines()
    for site in report["sites"]:
        assert any(line.startswith(f"{site['name']} ") and site["role"] in line for line in lines)
    assert {site["role"] for site in report["sites"]} == {*LAYER_SITES, "embedding", "pooler", "classifier"}
    assert [site["name"] for site in report["sites"] if site["eligible"]] == list(ELIGIBLE_SITES)
    assert report["size"]["eligible_parameters"] == ELIGIBLE_PARAMETERS
    assert [skipped["name"] for skipped in report["skipped"]] == ["embedding", "pooler", "classifier"]
    page = (tmp_path / "new" / "a.html").read_text(encoding="utf-8")
    assert all(site["name"] in page for site in report["sites"])
    assert snapshot(model) == before


def test_json_on_standard_output_is_all_there_is(run_cli: RunCli, model: Path) -> None:
    done = run_cli("analyze", model, "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["format"] == "squeeze-onnx/analysis/1"


def test_quiet_prints_nothing_and_verbose_every_reason(call_cli: RunCli, model: Path) -> None:
    quiet = call_cli("analyze", model, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    verbose = call_cli("analyze", model, "--verbose")
    assert "role pooler is not eligible here; --include pooler takes it in" in verbose.stdout


def test_options_reach_the_analysis(call_cli: RunCli, model: Path) -> None:
    options = ("--noise", "bulk", "--probability", "0.9", "--include", "embedding", "--exclude", "query", "--seed", "3")
    report = json.loads(call_cli("analyze", model / "model.onnx", "--json", "-", *options).stdout)
    config = report["config"]
    assert (config["noise"], config["probability"], config["seed"]) == ("bulk", 0.9, 3)
    eligible = {site["name"] for site in report["sites"] if site["eligible"]}
    assert eligible == {"embedding", *ELIGIBLE_SITES} - {"layer.0/query", "layer.1/query"}
    assert {"name": "layer.0/query", "reason": "role query is excluded"} in report["skipped"]


def test_names_with_brackets_and_a_terminal_of_few_letters_do_no_harm(run_cli: RunCli, tmp_path: Path) -> None:
    strange = "[/red]<script>[bold]x[0]"
    model = encoder_model()
    next(node for node in model.graph.node if node.name == "layer.0/query").name = strange
    folder = write_model_folder(tmp_path / "a[b]c", model)
    page = tmp_path / "page.html"
    done = run_cli("analyze", folder, "--html", page, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n{strange} " in done.stdout
    assert f"squeeze-onnx optimize '{folder}' -o '{folder}-small' --keep 0.75" in done.stdout
    assert "<script>[bold]" not in page.read_text(encoding="utf-8")
