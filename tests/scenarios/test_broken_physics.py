"""Broken and odd words of stations and streams, and how they are answered."""

from __future__ import annotations

import pytest

from tests.scenarios.test_broken import told
from tests.scenarios.words import MODEL, POISSON, QUEUE, changed

STREAM = POISSON + "}"


STATIONS = {
    "disciplines": (
        changed(QUEUE, "count: 2", "discipline: shared, job_share: 0, setup: {time: 0 s}"),
        [
            "x.yaml:6:31: nodes.0.discipline: expected fifo, priority, sharing, found 'shared'; "
            "did you mean 'sharing'?",
            "x.yaml:6:50: nodes.0.job_share: expected > 0, found 0",
            "x.yaml:6:67: nodes.0.setup.time: expected a time > 0, found '0 s'",
        ],
    ),
    "set-up": (
        changed(QUEUE, "count: 2", "setup: {keep: forever}, experts_from: 3"),
        [
            "x.yaml:6:26: nodes.0.setup.time: required key is missing",
            "x.yaml:6:33: nodes.0.setup.keep: expected a time such as '20 ms', '5 min' or "
            "'1 h 30 min', found 'forever'; or 'unlimited'",
            "x.yaml:6:57: nodes.0.experts_from: expected text, found 3; put it in quotes",
        ],
    ),
    "sharing": (
        changed(
            QUEUE,
            "count: 2",
            "discipline: sharing, batch: {max_size: 4}, setup: {time: 1 s}}\n"
            "  - {group: other, job_share: 0.5",
        ),
        [
            "x.yaml:6:58: nodes.0.batch.max_size: sharing knows no batches: expected 1, found 4",
            "x.yaml:6:69: nodes.0.setup: sharing knows no set-up: its servers are always warm",
            "x.yaml:7:31: nodes.1.job_share: only with `discipline: sharing`",
        ],
    ),
    "sharing with a model": (
        changed(MODEL, "count: 2", "discipline: sharing"),
        [
            "x.yaml:5:31: nodes.0.discipline: 'sharing' needs `model: none`: a model's batches do "
            "not share servers"
        ],
    ),
    "experts from nowhere": (
        changed(MODEL, "count: 2", "count: 2, experts_from: clout"),
        [
            "x.yaml:5:43: nodes.0.experts_from: unknown node or group 'clout'; did you mean "
            "'cloud'? (allowed: edge, cloud, edge-0, edge-1, cloud-0)"
        ],
    ),
    "experts from itself, from many and from out of reach": (
        changed(
            MODEL,
            "hardware: a100-40gb}",
            "hardware: a100-40gb, experts_from: edge}\n"
            "  - {group: near, hardware: t4, experts_from: near-0}\n"
            "  - {group: far, hardware: t4, experts_from: cloud}",
        ).replace("hub: cloud", "hub: cloud, over: [edge, near]"),
        [
            "x.yaml:6:55: nodes.1.experts_from: expected one node, found 2 in 'edge'",
            "x.yaml:7:47: nodes.2.experts_from: 'near-0' cannot be its own source",
            "x.yaml:8:46: nodes.3.experts_from: no links lead from 'far' to 'cloud'",
        ],
    ),
    "experts from each other": (
        changed(MODEL, "count: 2", "count: 2, experts_from: cloud").replace(
            "hardware: a100-40gb}", "hardware: a100-40gb, experts_from: edge-0}"
        ),
        [
            "x.yaml:5:43: nodes.0.experts_from: 'cloud-0' keeps no experts itself, it has "
            "'experts_from'",
            "x.yaml:6:55: nodes.1.experts_from: 'edge-0' keeps no experts itself, it has "
            "'experts_from'",
        ],
    ),
}  # fmt: skip
STREAMS = {
    "giving up": (
        changed(QUEUE, STREAM, STREAM + ", late: drop, patience: {kind: erlang, mean: 1 s, cv: 2}"),
        [
            "x.yaml:8:62: streams.0.late: 'drop' needs a 'deadline'",
            "x.yaml:8:108: streams.0.patience.cv: erlang: expected < 1, found 2",
        ],
    ),
    "laws": (
        changed(
            QUEUE,
            STREAM,
            STREAM + ", late: droop, service: {kind: normal, mean: 1 s, each: 1 ms}, "
            "size: {law: pareto}",
        ),
        [
            "x.yaml:8:62: streams.0.late: expected serve, drop, found 'droop'; did you mean "
            "'drop'?",
            "x.yaml:8:85: streams.0.service.kind: expected exponential, deterministic, lognormal, "
            "erlang, hyperexponential, found 'normal'; did you mean 'lognormal'?",
            "x.yaml:8:104: streams.0.service.each: unknown key (allowed: kind, mean, cv)",
            "x.yaml:8:129: streams.0.size.law: expected fixed, exponential, lognormal, "
            "found 'pareto'",
        ],
    ),
    "service of streams beside a model": (
        changed(MODEL, STREAM, STREAM + ", service: {kind: deterministic, mean: 1 ms}"),
        [
            "x.yaml:9:65: streams.0.service: only with `model: none`; a model's times follow from "
            "hardware"
        ],
    ),
    "sizes": (
        changed(QUEUE, STREAM, STREAM + ", size: {up: 1 KiB, law: exponential, cv: 2}"),
        [
            "x.yaml:8:96: streams.0.size.cv: only with `law: lognormal`, found 'exponential'"
        ],
    ),
    "each": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 2"),
        [
            "x.yaml:4:49: service.each: expected a time such as '20 ms', '5 min' or '1 h 30 min', "
            "found 2 (a number without a unit)"
        ],
    ),
    "states": (
        changed(QUEUE, POISSON, "kind: mmpp, states: [{rate: 1 /s, stay: 1 s}]"),
        ["x.yaml:8:47: streams.0.arrivals.states: expected at least 2 items, found 1"],
    ),
    "a state without a stay": (
        changed(
            QUEUE, POISSON, "kind: mmpp, states: [{rate: 1 /s, stay: 0 s}, {rate: 2, stay: 1 s}]"
        ),
        [
            "x.yaml:8:67: streams.0.arrivals.states.0.stay: expected a time > 0, found '0 s'",
            "x.yaml:8:80: streams.0.arrivals.states.1.rate: expected a rate such as '20 /s', "
            "'20 req/s' or '90 /min', found 2 (a number without a unit)",
        ],
    ),
    "no state emits": (
        changed(
            QUEUE,
            POISSON,
            "kind: mmpp, states: [{rate: 0 /s, stay: 1 s}, {rate: 0 /s, stay: 1 s}], "
            "jumps: [[0, 1]]",
        ),
        [
            "x.yaml:8:47: streams.0.arrivals.states: every rate is 0: the stream never emits",
            "x.yaml:8:106: streams.0.arrivals.jumps: expected 2 rows, one per state, found 1",
        ],
    ),
    "jumps": (
        changed(
            QUEUE,
            POISSON,
            "kind: mmpp, states: [{rate: 1 /s, stay: 1 s}, {rate: 2 /s, stay: 1 s}, "
            "{rate: 3 /s, stay: 1 s}], jumps: [[0, 1], [0.5, 0.5, 0], [0.5, 0.4, 0]]",
        ),
        [
            "x.yaml:8:132: streams.0.arrivals.jumps.0: expected 3 probabilities, found 2",
            "x.yaml:8:140: streams.0.arrivals.jumps.1: expected 0 on the diagonal, found 0.5",
            "x.yaml:8:155: streams.0.arrivals.jumps.2: expected a sum of 1, found 0.9",
        ],
    ),
    "states that are never reached": (
        changed(
            QUEUE,
            POISSON,
            "kind: mmpp, states: [{rate: 1 /s, stay: 1 s}, {rate: 2 /s, stay: 1 s}, "
            "{rate: 3 /s, stay: 1 s}], jumps: [[0, 1, 0], [1, 0, 0], [1, 0, 0]]",
        ),
        [
            "x.yaml:8:131: streams.0.arrivals.jumps: from state 0 not every other state is ever "
            "reached"
        ],
    ),
    "day and night": (
        changed(QUEUE, POISSON, "kind: diurnal, rate: 1 /s, amplitude: 1.5, period: 0 s"),
        [
            "x.yaml:8:65: streams.0.arrivals.amplitude: expected <= 1, found 1.5",
            "x.yaml:8:78: streams.0.arrivals.period: expected a time > 0, found '0 s'",
        ],
    ),
    "exciting itself": (
        changed(QUEUE, POISSON, "kind: hawkes, rate: 1 /s, branching: 1"),
        [
            "x.yaml:8:26: streams.0.arrivals.decay: required key is missing",
            "x.yaml:8:64: streams.0.arrivals.branching: expected < 1, found 1",
        ],
    ),
    "traces of others": (
        changed(
            QUEUE, POISSON, "kind: trace, file: t.csv, format: azure, bytes_per_token: 0"
        ),
        [
            "x.yaml:8:61: streams.0.arrivals.format: expected canonical, azure-llm, burstgpt, "
            "mooncake, found 'azure'; did you mean 'azure-llm'?",
            "x.yaml:8:85: streams.0.arrivals.bytes_per_token: expected > 0, found 0",
        ],
    ),
    "assertions of unknown streams": (
        QUEUE + "assert: ['p99_latency[stream-1] <= 1 s', 'drops[stream-0] <= 1 %']\n",
        [
            "x.yaml:9:10: assert.0: unknown stream 'stream-1'; did you mean 'stream-0'? "
            "(allowed: stream-0)",
        ],
    ),
    "assertions of streams": (
        QUEUE + "assert:\n  - drops[stream-0] <= 1 %\n  - energy[stream-0] <= 1 J\n"
        "  - stable[stream-0]\n  - drops[] <= 1 %\n  - drops[stream-0 <= 1 %\n",
        [
            "x.yaml:11:5: assert.1: 'energy' is not measured by stream (these are: accuracy, "
            "deadline_miss, drops, latency_mean, p50_latency, p95_latency, p99_latency)",
            "x.yaml:12:5: assert.2: 'stable' is not measured by stream (these are: accuracy, "
            "deadline_miss, drops, latency_mean, p50_latency, p95_latency, p99_latency)",
            "x.yaml:13:5: assert.3: expected the name of a stream in 'drops[]'",
            "x.yaml:14:5: assert.4: expected text such as 'p99_latency <= 200 ms', found "
            "'drops[stream-0 <= 1 %'",
        ],
    ),
}  # fmt: skip
BROKEN = {**STATIONS, **STREAMS}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN)
def test_broken_physics_is_answered_exactly(text, expected, tmp_path):
    assert told(text, tmp_path) == expected


WARNED = {
    "priorities that nobody looks at": (
        changed(QUEUE, STREAM, STREAM + ", priority: 2")
        + "  - {at: edge, arrivals: {kind: poisson, rate: 1 /s}}\n",
        [
            "x.yaml:8:66: warning: streams.0.priority: priorities have no effect: no group has "
            "`discipline: priority`"
        ],
    ),
    "nobody waits": (
        changed(QUEUE, "count: 2", "discipline: sharing").replace(
            STREAM,
            STREAM + ", patience: {kind: exponential, mean: 1 s}",
        ),
        [
            "x.yaml:8:66: warning: streams.0.patience: has no effect: where discipline is sharing "
            "nobody waits",
        ],
    ),
    "who shares waits for a node that is down, and may come too late": (
        changed(QUEUE, "count: 2", "discipline: sharing").replace(
            STREAM,
            STREAM + ", patience: {kind: exponential, mean: 1 s}, deadline: 1 s, late: drop",
        )
        + "faults: [{kind: node-crash, node: edge-0, at: 1 s, for: 1 s, work: keep}]\n",
        [],
    ),
    "no batches": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 2 ms"),
        [
            "x.yaml:4:49: warning: service.each: has no effect: every group's batches hold one "
            "request"
        ],
    ),
    "no experts": (
        changed(QUEUE, "count: 2}", "experts_from: other}\n  - {group: other}"),
        [
            "x.yaml:6:33: warning: nodes.0.experts_from: has no effect: no experts with "
            "`model: none`"
        ],
    ),
    "overload by a stream's own service": (
        changed(QUEUE, STREAM, STREAM + ", service: {kind: deterministic, mean: 60 ms}"),
        [
            "x.yaml:1:1: warning: load: offered load 2.4 is more than 2 servers can do: queues "
            "will grow"
        ],
    ),
    "overload by what others add to a batch": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 60 ms").replace(
            "count: 2", "count: 2, batch: {max_size: 4}"
        ),
        [  # a full batch takes at least 190 ms: 42 requests a second at the most, 40 come
        ],
    ),
    "overload of full batches": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 66 ms").replace(
            "count: 2", "count: 2, batch: {max_size: 4}"
        ),
        [
            "x.yaml:1:1: warning: load: offered load 2.08 is more than 2 servers can do: queues "
            "will grow"
        ],
    ),
    "overload that batches bear": (
        changed(QUEUE, "mean: 10 ms", "mean: 60 ms").replace(
            "count: 2", "count: 2, batch: {max_size: 4}"
        ),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WARNED.values(), ids=WARNED)
def test_odd_physics_is_warned_about(text, expected, tmp_path):
    assert told(text, tmp_path) == expected
