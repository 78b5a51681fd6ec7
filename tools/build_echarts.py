"""Make squeeze_onnx/report/assets/echarts.min.js anew: the parts of Apache ECharts that the reports draw with, in one script.

    python -m tools.build_echarts        (wants npm and a package registry)

Versions are pinned, so the same bytes come out: change them here, run it, and look at a report.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import squeeze_onnx.report

ECHARTS = "echarts@6.1.0"
BUNDLER = "esbuild@0.28.2"

CHARTS = ("BarChart", "CustomChart", "HeatmapChart", "LineChart", "ScatterChart")
COMPONENTS = ("GridComponent", "LegendComponent", "MarkLineComponent", "TooltipComponent")
ENTRY = f"""
import {{ init, use }} from "echarts/core";
import {{ {", ".join(CHARTS)} }} from "echarts/charts";
import {{ {", ".join((*COMPONENTS, "VisualMapContinuousComponent"))} }} from "echarts/components";
import {{ SVGRenderer }} from "echarts/renderers";
use([{", ".join((*CHARTS, *COMPONENTS, "VisualMapContinuousComponent", "SVGRenderer"))}]);
export {{ init }};
"""
BANNER = (
    "/*! Apache ECharts 6.1.0 and ZRender 6.1.0: Apache-2.0 and BSD-3-Clause, texts in squeeze_onnx/report/assets */"
)
LICENCES = {
    "Apache ECharts 6.1.0": ("echarts/LICENSE", "echarts/NOTICE", "echarts/licenses/LICENSE-d3"),
    "ZRender 6.1.0": ("zrender/LICENSE",),
    "tslib 2.3.0": ("tslib/LICENSE.txt",),
}


def main() -> None:
    assets = Path(squeeze_onnx.report.__file__).with_name("assets")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "package.json").write_text('{"private": true}')
        (folder / "entry.js").write_text(ENTRY)
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", ECHARTS, BUNDLER], cwd=folder, check=True)
        flags = ["--bundle", "--minify", "--format=iife", "--global-name=echarts", "--target=es2020"]
        quiet = ["--legal-comments=none", f"--banner:js={BANNER}", "--log-level=warning", "--outfile=echarts.min.js"]
        subprocess.run(["npx", "esbuild", "entry.js", *flags, *quiet], cwd=folder, check=True)
        shutil.copyfile(folder / "echarts.min.js", assets / "echarts.min.js")
        modules = folder / "node_modules"
        texts = [
            f"{title}: {Path(file).name}\n{'=' * 79}\n\n{(modules / file).read_text(encoding='utf-8').strip()}\n"
            for title, files in LICENCES.items()
            for file in files
        ]
    header = "echarts.min.js in this folder is made by tools/build_echarts.py from the packages below.\n"
    (assets / "echarts.LICENSE").write_text("\n\n".join([header, *texts]), encoding="utf-8")


if __name__ == "__main__":
    main()
