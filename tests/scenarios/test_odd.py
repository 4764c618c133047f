"""Scenario files that are odd but not broken: each is warned about in these words."""

from __future__ import annotations

import pytest

from tests.scenarios.test_broken import told
from tests.scenarios.words import MODEL, QUEUE, changed

WARNED = {
    "drift after the end": (
        changed(MODEL, "20 /s}", "20 /s}, drift: [{kind: switch, at: 2 min}]"),
        ["x.yaml:9:83: warning: streams.0.drift.0.at: never happens: arrivals stop at 1 min"],
    ),
    "nothing": (
        MODEL + "dispatch: random\n",
        [],
    ),
    "some servers out of reach": (
        changed(QUEUE, "count: 2", "count: 2}\n  - {group: far")
        + "topology: {kind: ring, over: [edge], link: {delay: 1 ms}}\ndispatch: random\n",
        ["x.yaml:10:11: topology: ring: expected at least 3 nodes, found 2"],
    ),
    "servers of another island": (
        changed(QUEUE, "count: 2", "count: 3}\n  - {group: far")
        + "topology: {kind: ring, over: [edge], link: {delay: 1 ms}}\ndispatch: random\n",
        [
            "x.yaml:9:10: warning: streams.0.at: some servers of dispatch cannot be reached from "
            "'edge'"
        ],
    ),
    "overload": (
        changed(QUEUE, "mean: 10 ms", "mean: 60 ms"),
        [
            "x.yaml:1:1: warning: load: offered load 2.4 is more than 2 servers can do: queues "
            "will grow"
        ],
    ),
    "experts that do not fit": (
        changed(MODEL, "jetson-orin-nano", "jetson-orin-nano, memory: 1 GiB")
        + "policies: [top2]\n",
        [
            "x.yaml:5:65: warning: nodes.0.memory: gated plans do not fit: they need 1.26 GiB, the "
            "node has 1.00 GiB; `cache: lru` keeps only part of the experts"
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WARNED.values(), ids=WARNED)
def test_odd_files_are_warned_about(text, expected, tmp_path):
    assert told(text, tmp_path) == expected
