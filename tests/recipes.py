"""A recipe with every step, for tests that read, run or output error one."""

RECIPE = """
model = "model"
output = "small"
[optimize]
keep = 0.5
fuse = "cpu"
floor = { all = 0.1 }
[calibration]
source = "texts.txt"
[validate]
task = "sst2"
data = "glue"
max_drop = 100
latency_rounds = 2
[package]
output = "bundle"
"""
