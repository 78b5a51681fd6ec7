"""The table of coverage: sums by folder, and of all."""

from typing import Any

from tools.coverage_table import Covered, by_folder, rows


def summary(lines: int, lines_run: int, branches: int, branches_run: int) -> dict[str, Any]:
    return {
        "summary": {
            "num_statements": lines,
            "covered_lines": lines_run,
            "num_branches": branches,
            "covered_branches": branches_run,
        }
    }


def test_files_are_summed_by_folder() -> None:
    files = {
        "squeeze_onnx/spectral/rmt/noise.py": summary(30, 27, 10, 5),
        "squeeze_onnx/spectral/rmt/spectrum.py": summary(10, 10, 0, 0),
        "squeeze_onnx/compress/plan.py": summary(20, 20, 4, 4),
    }
    folders = by_folder(files)
    assert folders == {"compress": Covered(20, 20, 4, 4), "spectral": Covered(40, 37, 10, 5)}
    assert list(rows(folders))[2:] == [
        "| `compress` | 20 | 100.0 % | 4 | 100.0 % |",
        "| `spectral` | 40 | 92.5 % | 10 | 50.0 % |",
        "| `all` | 60 | 95.0 % | 14 | 64.3 % |",
    ]
