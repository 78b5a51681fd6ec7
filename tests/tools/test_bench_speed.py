"""Speed of prepared models, from what is made to the tables: on one tiny encoder and one budget."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from squeeze_onnx.evaluate import bench_config
from squeeze_onnx.evaluate.bench_config import BenchConfig
from squeeze_onnx.evaluate.benchmark import Benchmark, measure
from squeeze_onnx.evaluate.timed_models import ModelsToTime
from tests.docs.sandbox import lay_out
from tools import bench_speed, speed_models, speed_tables
from tools.row_files import read_journal
from tools.rows import Row

LABELS = [
    *("dense, fp32", "dense, fp32, fused", "dense, int8", "dense, OpenVINO int8"),
    *("keep 0.5, fp32", "keep 0.5, int8", "keep 0.5, OpenVINO int8"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder in which ``prepare`` has made all of one tiny model; the tools know no other one."""
    folder = tmp_path_factory.mktemp("speed")
    sandbox = lay_out(folder / "sandbox")
    (folder / "models" / "tiny").mkdir(parents=True)
    (sandbox / "minilm").rename(folder / "models" / "tiny" / "onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SQUEEZE_GLUE", raising=False)
        for module in (speed_models, speed_tables):
            patch.setattr(module, "BUDGETS", (0.5,))
        for module in (bench_speed, speed_models):
            patch.setattr(module, "MODELS", {"tiny": speed_models.Measured("stsb", 16)})
        patch.setattr(bench_speed, "WAYS_MODEL", "tiny")
        patch.setattr(bench_config, "DEFAULT_SHAPES", ((1, 5), (2, 5)))
        call(folder, "prepare", "--glue", sandbox / "glue")
        yield folder


def call(folder: Path, command: str, *options: str | Path) -> str:
    places = ["--models", str(folder / "models"), "--folder", str(folder / "speed")]
    done = CliRunner().invoke(bench_speed.main, [command, *places, *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def rows(folder: Path, command: str, *options: str | Path) -> dict[str, Row]:
    """Return the rows that ``command`` adds to a journal, by label."""
    journal = folder / f"{command}{len(options)}.jsonl"
    call(folder, command, "--journal", journal, *options)
    return {row.label: row for row in read_journal(journal)}


def test_what_was_made_says_how_and_how_good_it_is(root: Path) -> None:
    folder = root / "speed" / "tiny" / "keep-0.5-int8"
    made, scored = (json.loads((folder / f"{name}.json").read_text()) for name in ("made", "score"))
    assert made["command"] == (
        "squeeze-onnx optimize MODEL -o OUT --keep 0.5 --precision int8 --calibration glue:stsb --data GLUE "
        "--calibration-rows 16"
    )
    assert scored["metric"] == "spearman"
    assert 0.9 < scored["score"] <= 1
    assert len(scored["predictions"]) == 100
    [entry] = [entry for entry in speed_models.entries() if entry.label == "dense, OpenVINO int8"]
    place = speed_models.Place("tiny", root / "models" / "tiny" / "onnx", root / "speed", None)
    found = speed_models.score(place, entry)
    assert found is not None
    assert found["score"] > 0.9


def test_a_run_keeps_a_row_for_everything_and_tables_show_them(root: Path) -> None:
    found = rows(root, "run", "--rounds", "2")
    assert list(found) == LABELS
    small = found["keep 0.5, OpenVINO int8"]
    assert small.name == "tiny/speed/keep-0.5-openvino-int8"
    assert small.command == (
        *("tools.bench_speed", "run", "--model", "tiny", "--rounds", "2", "--row"),
        "keep 0.5, OpenVINO int8",
    )
    assert small.speed
    assert small.values["runtime"]["name"] == "openvino"
    assert set(small.values["against"]) == {"export", "fused", "int8", "openvino"}
    assert small.values["p50_ms"].keys() == {"1 × 5", "2 × 5"}
    assert small.values["made"]["command"] == "squeeze-onnx bench … --against openvino"
    assert found["dense, int8"].values["against"]["int8"]["speedup"] == 1
    table = list(speed_tables.whole_table("tiny", found))
    assert sum(line.startswith(("| dense", "| keep")) for line in table) == len(LABELS)
    assert any(line.startswith("| tiny, keep 0.5 | ") for line in speed_tables.short_table({"tiny": found}))


def test_one_row_is_timed_with_what_it_is_held_against_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []

    def look(chosen: ModelsToTime, config: BenchConfig) -> Benchmark:
        timed.extend(model.name for model in chosen.models)
        return measure(chosen, config)

    monkeypatch.setattr(bench_speed, "measure", look)
    assert list(rows(root, "run", "--rounds", "1", "--row", "keep 0.5, fp32")) == ["keep 0.5, fp32"]
    assert timed == LABELS[:5]


def test_ways_are_measured_on_the_same_models(root: Path) -> None:
    found = rows(root, "ways", "--rounds", "1")
    assert list(found) == ["dense, fp32", "dense, int8", "keep 0.5, int8"]
    for row in found.values():
        assert row.values.keys() == {"processes", "stopped", "spinning"}
        assert all(times.keys() == {"1 × 5", "2 × 5"} for times in row.values.values())
    assert len(list(speed_tables.ways_table(list(found.values())))) == 2 + 9


def test_what_is_missing_is_named_before_anything_is_timed(root: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(bench_speed.main, ["run", "--models", str(root / "models"), "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert "dense-fp32 has not been made: run python -m tools.bench_speed prepare --glue DIR" in done.output


def made_up(label: str, milliseconds: float, drop: float) -> Row:
    values = {"p50_ms": {"1 × 32": milliseconds, "8 × 128": 10 * milliseconds}, "drop_points": drop}
    return Row("m/speed/x", label, None, values)


def test_the_fastest_form_is_named_among_those_that_lose_little() -> None:
    found = {
        row.label: row
        for row in (made_up("dense, int8", 2, 0.2), made_up("keep 0.25, int8", 0.5, 3), made_up("keep 0.5", 1, 1))
    }
    assert "keep 0.5 is the fastest form of m, 2.00 times as fast as the fastest dense one (dense, int8)" in (
        speed_tables.fastest("m", found)
    )
    found["dense, int8"] = made_up("dense, int8", 0.9, 0.2)
    assert speed_tables.fastest("m", found).endswith(
        "dense, int8 is the fastest form of m: squeezing gains no time there."
    )
