"""Killed runs, a few of them: `tools.faults` does hundreds."""

from tools.faults import kill_many


def test_a_kill_leaves_a_whole_output_or_none_and_the_next_run_sets_all_right() -> None:
    found = kill_many(6, seed=0, names=("optimize --force", "distill", "package --force"))
    assert sum(counts["killed"] for counts in found.values()) == 6
    assert {outcome for counts in found.values() for outcome in counts} <= {
        *("killed", "ended before the kill", "output whole", "output absent", "output put aside"),
    }
