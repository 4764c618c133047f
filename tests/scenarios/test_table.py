"""The comparison on the terminal, and the limits of `assert:`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from analysis import outcomes
from scenarios.schema_policy import BY_STREAM, METRICS, read_assertion
from scenarios.table import show_comparison, show_failures
from scenarios.targets import KEYS, measure


def row(policy: str, seed: int, p99_s: float, accuracy: float, **more: Any) -> dict[str, Any]:
    facts = {"policy": policy, "seed": seed, "latency_p99_s": p99_s, "accuracy": accuracy}
    return {**facts, "stable": True, "workload_digest": f"w{seed}", **more}


ROWS = [
    *(row("top2", seed, 0.200 + 0.001 * seed, 0.90) for seed in range(5)),
    *(row("tanbr", seed, 0.100 + 0.001 * seed, 0.80) for seed in range(5)),
]


def lines(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_baseline_first_intervals_and_paired_differences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_comparison(ROWS, "top2")
    text = capsys.readouterr().err
    head = lines(text, "top2")[0]
    assert head.index("top2") < head.index("tanbr")
    # seeds move both policies alike, so the paired interval is empty where the plain one is 2 ms
    assert "202.0 ± 2.0 ms" in text
    assert "102.0 ± 2.0 ms" in text
    assert "-49.5 ± 0.5 % better" in text
    assert "-10.00 ± 0.00 pt worse" in text


def test_only_one_baseline_per_cell_and_one_table_per_cell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [{**r, "load": load} for load in ("0.5", "2") for r in ROWS]
    show_comparison(rows, "top2", ("load",))
    text = capsys.readouterr().err
    assert text.index("load = 0.5") < text.index("load = 2")
    assert len(lines(text, "tanbr")) == 2


def test_many_policies_are_a_row_each_with_the_side_they_are_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        row(f"p{i}", seed, 0.1 + 0.01 * abs(i - 5), 0.5 + 0.01 * i)
        for i in range(11)
        for seed in range(3)
    ]
    show_comparison(rows, "p4")
    text = capsys.readouterr().err
    shown = [line.split() for line in text.splitlines() if line.strip().startswith("p")]
    assert shown[0][0] == "p4"  # the baseline first
    assert {words[0] for words in shown} >= {f"p{i}" for i in range(11)}
    by_name = {words[0]: words for words in shown[:11]}
    assert by_name["p9"][-1] == "+"  # more accurate
    assert by_name["p0"][-1] == "-"
    assert " ".join(by_name["p6"]) == "p6 110 ms = 56.0 % +"  # as slow, and more accurate
    assert "p4 is the baseline; + better" in text


def test_many_metrics_are_split_to_fit_the_width(capsys: pytest.CaptureFixture[str]) -> None:
    more = {"regret_mean": 0.123, "regret_late": 0.1, "energy_j": 1e5, "memory_peak_bytes": 1e9}
    more |= {"latency_p50_s": 0.1, "latency_mean_s": 0.2, "drift_recovery_slots": 12.0}
    rows = [
        row(f"policy-{i}", seed, 0.1 + 0.01 * seed, 0.5 + 0.01 * i + 0.001 * seed,
            **{key: value * (1.0 + 0.1 * seed) for key, value in more.items()})
        for i in range(6)
        for seed in range(3)
    ]  # fmt: skip
    show_comparison(rows, "policy-0")
    text = capsys.readouterr().err
    assert len(lines(text, "policy-3")) == 2
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_what_is_zero_under_every_policy_is_named_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_comparison([{**r, "drop_share": 0.0} for r in ROWS], "top2")
    text = capsys.readouterr().err
    assert "Zero under every policy: dropped." in text
    assert not lines(text, "Dropped")


def test_equal_seed_by_seed_is_called_identical(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS[:5], *(dict(r, policy="twin") for r in ROWS[:5])]
    show_comparison(rows, "top2")
    assert capsys.readouterr().err.count("identical") == 2


def test_unstable_runs_show_no_latency(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS[:5], *(row("tanbr", s, 9.0, 0.8, stable=s > 1) for s in range(5))]
    show_comparison(rows, "top2")
    text = capsys.readouterr().err
    assert "unstable" in lines(text, "p99")[0]
    assert "NO in 2 of 5" in lines(text, "Stable")[0]


def test_oracles_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(ROWS, "top2", oracles=["tanbr"])
    text = capsys.readouterr().err
    assert "tanbr*" in text
    assert "* oracle" in text


def test_markup_and_escapes_in_names_stay_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row("[red]x\x1b[0m", seed, 0.1, 0.5) for seed in (1, 2)]
    show_comparison(rows, "[red]x\x1b[0m")
    text = capsys.readouterr().err
    assert "[red]x\\x1b[0m" in text
    assert "\x1b" not in text


def test_failures_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {**ROWS[0], "id": "ab", "stage": "simulate", "message": "LawViolation: L1\nmore"}
    show_failures([failed])
    text = capsys.readouterr().err
    assert "FAILED top2, seed 0 (trial ab) in simulate: LawViolation: L1\n" in text
    assert "more" not in text


def test_every_metric_of_the_file_has_a_key_in_summaries() -> None:
    assert set(KEYS) == set(METRICS)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("p99_latency <= 203 ms", [True, True]),
        ("p99_latency <= 150 ms", [False, True]),
        ("accuracy >= 85 %", [True, False]),
        ("stable", [True, True]),
        ("energy <= 1 kJ", [False, False]),  # not measured is not kept
    ],
)
def test_limits_hold_for_the_mean_over_seeds(text: str, kept: list[bool]) -> None:
    found = measure([read_assertion(text)], ROWS)
    assert [f.kept for f in found] == kept
    assert [f.policy for f in found] == ["top2", "tanbr"]


def test_one_unstable_seed_breaks_stable_and_findings_read_well() -> None:
    rows = [*ROWS[:4], {**ROWS[4], "stable": False}]
    limits = [read_assertion("stable"), read_assertion("p99_latency <= 150 ms")]
    found = [str(f) for f in measure(limits, [{**r, "load": "2"} for r in rows], ("load",))]
    assert found == [
        "✗ top2 (load = 2): stable, found no",
        "✗ top2 (load = 2): p99_latency <= 150 ms, found 202 ms",
    ]


def test_a_metric_that_is_missing_shows_a_dash() -> None:
    found = measure([read_assertion("regret <= 0.1")], [row("a", 1, math.nan, 0.5)])
    assert str(found[0]) == "✗ a: regret <= 10.0 points, found -"


@pytest.mark.parametrize("text", ["p99_latency[alarm] <= 50 ms", "drops[a.b] < 0.01"])
def test_limits_of_streams_survive_the_round_trip(text: str) -> None:
    assert str(read_assertion(text)) == text
    assert read_assertion(text).stream in {"alarm", "a.b"}


def test_a_limit_of_a_stream_is_held_against_that_stream() -> None:
    rows = [{**r, "latency_p99_s[alarm]": 0.04, "latency_p99_s[bulk]": 0.9} for r in ROWS[:5]]
    limits = [
        read_assertion("p99_latency[alarm] <= 50 ms"),
        read_assertion("p99_latency[bulk] <= 50 ms"),
    ]
    assert [str(f) for f in measure(limits, rows)] == [
        "✓ top2: p99_latency[alarm] <= 50.0 ms, found 40.0 ms",
        "✗ top2: p99_latency[bulk] <= 50.0 ms, found 900 ms",
    ]
    # the only stream of a run is the run
    assert [f.value for f in measure(limits[:1], ROWS[:5])] == [pytest.approx(0.202)]
    # one that is not measured is not kept, even where the run is
    assert not measure([read_assertion("p99_latency[other] <= 9 s")], rows)[0].kept


def test_what_can_be_asked_of_a_stream_is_what_a_summary_says_of_it() -> None:
    assert {KEYS[metric] for metric in BY_STREAM} == set(outcomes.BY_STREAM)
