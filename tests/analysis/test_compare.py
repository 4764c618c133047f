from __future__ import annotations

import math

import pytest

from analysis.compare import compare_table
from sim.errors import InputError, UnknownName


def rows(**changes):
    return [
        {
            "policy": policy, "seed": seed, "stable": True, "workload_digest": f"w{seed}",
            "latency_p99_s": (0.2 + 0.01 * seed) * factor, "useful_per_s": 10.0 + 1.0 / factor,
            "accuracy": None, **changes.get(policy, {}),
        }
        for policy, factor in (("base", 1.0), ("fast", 0.55))
        for seed in range(5)
    ]  # fmt: skip


def test_best_comes_first_and_differences_are_paired() -> None:
    table = compare_table(rows(), "base")
    assert [row.policy for row in table.rows] == ["fast", "base"]
    cell = table.row("fast").cells["latency_p99_s"]
    assert cell.paired is not None
    assert cell.paired.verdict == "better"
    assert cell.paired.ratio.mean == pytest.approx(-0.45)
    assert table.row("base").cells["latency_p99_s"].paired is None


def test_metrics_that_nobody_has_are_left_out() -> None:
    assert [metric.key for metric in compare_table(rows()).metrics] == [
        "useful_per_s",
        "latency_p99_s",
    ]


def test_an_unstable_policy_has_no_latency_but_all_else() -> None:
    table = compare_table(rows(fast={"stable": False}), "base")
    row = table.row("fast")
    assert row.cells["latency_p99_s"].text == "unstable"
    assert row.cells["latency_p99_s"].paired is None
    assert row.cells["useful_per_s"].interval is not None
    assert any("fast" in note for note in table.notes)


def test_stability_survives_a_csv_file() -> None:
    assert compare_table(rows(fast={"stable": "False"}), "base").row("fast").unstable == 5


def test_unequal_worlds_are_refused() -> None:
    with pytest.raises(InputError, match="another world"):
        compare_table(rows(fast={"workload_digest": "other"}))


def test_an_unknown_baseline_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'fast'"):
        compare_table(rows(), "fasst")


def test_a_seed_twice_is_refused() -> None:
    with pytest.raises(InputError, match="twice"):
        compare_table([*rows(), rows()[0]])


def test_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no finished trial"):
        compare_table([])


def test_one_seed_has_means_and_no_verdict() -> None:
    table = compare_table([row for row in rows() if row["seed"] == 0], "base")
    cell = table.row("fast").cells["latency_p99_s"]
    assert cell.paired is not None
    assert cell.paired.verdict == "unclear"
    assert cell.interval is not None
    assert math.isnan(cell.interval.low)
    assert "One seed" in table.notes[0]
