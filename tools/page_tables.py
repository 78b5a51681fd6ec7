"""Which table stands on which page, what its lines are, and which rows they are made of."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from tools import (
    bench_ablation,
    bench_distillation,
    bench_edge,
    bench_forms,
    bench_precision,
    bench_small,
    bench_soco,
    bench_stages,
    bench_theory,
    bench_workers,
    decomposition_tables,
    project_cost,
    quality_tables,
    speed_tables,
    trust_tables,
)
from tools.bench_memory import markdown as memory_markdown
from tools.measuring import TASKS
from tools.row_files import rows_of
from tools.rows import Row


@dataclass(frozen=True)
class Table:
    """What stands between the markers of ``marker`` on ``page``, a path in the repository."""

    page: str
    marker: str
    lines: Callable[[], Iterable[str]]
    rows: Callable[[], Iterable[Row]]


def of_kind(kind: str, *models: str) -> list[Row]:
    """Return all rows of a kind, of these models or of all that have a task."""
    return [row for model in models or TASKS for row in rows_of(model, kind).values()]


RESULTS, MACHINES = "docs/results.md", "docs/guides/many-machines.md"

SPEED = (
    Table("README.md", "speed", speed_tables.short, speed_tables.all_rows_of_speed),
    Table(RESULTS, "speed", speed_tables.whole_tables, speed_tables.all_rows_of_speed),
    Table(RESULTS, "speed-ways", speed_tables.ways, speed_tables.ways_rows),
)
"""They take a quiet machine: until there are rows, nothing stands between their markers."""

TABLES = (
    *(table for table in SPEED if list(table.rows())),
    Table("README.md", "headline", quality_tables.headline, quality_tables.headline_rows),
    Table("README.md", "ablation", bench_ablation.markdown, partial(of_kind, "ablation")),
    Table(RESULTS, "classes", quality_tables.classes, quality_tables.classes_rows),
    Table(RESULTS, "soco", bench_soco.markdown, partial(of_kind, "soco")),
    Table(RESULTS, "precision", bench_precision.markdown, partial(of_kind, "precision", "bert-base-shapes")),
    Table(RESULTS, "sweep", trust_tables.sweep_markdown, partial(of_kind, "sweep", "sweep")),
    Table(RESULTS, "faults", trust_tables.faults_markdown, partial(of_kind, "faults", "faults")),
    Table(RESULTS, "quality", quality_tables.markdown, partial(of_kind, "quality")),
    Table(
        RESULTS,
        "decomposition",
        decomposition_tables.markdown,
        partial(of_kind, "decomposition", "decompositions"),
    ),
    Table(RESULTS, "memory", memory_markdown, partial(of_kind, "memory", "memory")),
    Table("docs/architecture.md", "stages", bench_stages.markdown, partial(of_kind, "stages")),
    Table(
        "docs/methods/steps.md",
        "distillation cost",
        bench_distillation.markdown,
        partial(of_kind, "distillation_cost"),
    ),
    Table(MACHINES, "two workers", bench_workers.markdown, partial(of_kind, "workers")),
    Table(MACHINES, "many machines", project_cost.many_machines, partial(of_kind, "site_costs", "many-machines")),
    Table(MACHINES, "site costs", project_cost.site_costs, partial(of_kind, "site_costs", "many-machines")),
    Table("docs/comparison.md", "forms", bench_forms.markdown, bench_forms.weighed_rows),
    Table("docs/theory.md", "edges", bench_theory.markdown, partial(of_kind, "theory", "minilm-l6")),
    Table("docs/guides/edge.md", "edge", bench_edge.markdown, partial(of_kind, "edge", "minilm-l6")),
    Table(
        "models/paraphrase-minilm-l3/README.md",
        "small",
        bench_small.markdown,
        partial(of_kind, "small", "paraphrase-minilm-l3"),
    ),
)
