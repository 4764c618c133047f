"""Broken words of stations, links, arrivals and faults, and how they are answered."""

from __future__ import annotations

import pytest

from tests.scenarios.test_broken import told
from tests.scenarios.words import MODEL, POISSON, QUEUE, changed

LINKED = (
    changed(QUEUE, "count: 2}", "count: 2}\n  - {group: cloud}")
    + "topology: {kind: star, hub: cloud, link: {delay: 1 ms}}\n"
)
STREAM = POISSON + "}"


def faults(*texts):
    return "faults:\n" + "".join(f"  - {{{text}}}\n" for text in texts)


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
            "'1 h 30 min', found 'forever'",
            "x.yaml:6:56: nodes.0.experts_from: expected text, found 3; put it in quotes",
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
            "x.yaml:6:60: nodes.0.batch.max_size: sharing knows no batches: expected 1, found 4",
            "x.yaml:6:71: nodes.0.setup: sharing knows no set-up: its servers are always warm",
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
}  # fmt: skip
STREAMS = {
    "giving up": (
        changed(QUEUE, STREAM, STREAM + ", late: drop, patience: {kind: erlang, mean: 1 s, cv: 2}"),
        [
            "x.yaml:8:62: streams.0.late: 'drop' needs a 'deadline'",
            "x.yaml:8:107: streams.0.patience.cv: erlang: expected < 1, found 2",
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
            "x.yaml:8:84: streams.0.service.kind: expected exponential, deterministic, lognormal, "
            "erlang, hyperexponential, found 'normal'; did you mean 'lognormal'?",
            "x.yaml:8:103: streams.0.service.each: unknown key (allowed: kind, mean, cv)",
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
            "x.yaml:8:99: streams.0.size.cv: only with `law: lognormal`, found 'exponential'"
        ],
    ),
    "each": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 2"),
        [
            "x.yaml:4:50: service.each: expected a time such as '20 ms', '5 min' or '1 h 30 min', "
            "found 2 (a number without a unit)"
        ],
    ),
    "states": (
        changed(QUEUE, POISSON, "kind: mmpp, states: [{rate: 1 /s, stay: 1 s}]"),
        ["x.yaml:8:53: streams.0.arrivals.states: expected at least 2 items, found 1"],
    ),
    "a state without a stay": (
        changed(
            QUEUE, POISSON, "kind: mmpp, states: [{rate: 1 /s, stay: 0 s}, {rate: 2, stay: 1 s}]"
        ),
        [
            "x.yaml:8:73: streams.0.arrivals.states.0.stay: expected a time > 0, found '0 s'",
            "x.yaml:8:73: streams.0.arrivals.states.1.rate: expected a rate such as '20 /s', "
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
            "x.yaml:8:53: streams.0.arrivals.states: every rate is 0: the stream never emits",
            "x.yaml:8:112: streams.0.arrivals.jumps: expected 2 rows, one per state, found 1",
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
            "x.yaml:8:139: streams.0.arrivals.jumps.0: expected 3 probabilities, found 2",
            "x.yaml:8:147: streams.0.arrivals.jumps.1: expected 0 on the diagonal, found 0.5",
            "x.yaml:8:162: streams.0.arrivals.jumps.2: expected a sum of 1, found 0.9",
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
            "x.yaml:8:138: streams.0.arrivals.jumps: from state 0 not every other state is ever "
            "reached"
        ],
    ),
    "day and night": (
        changed(QUEUE, POISSON, "kind: diurnal, rate: 1 /s, amplitude: 1.5, period: 0 s"),
        [
            "x.yaml:8:71: streams.0.arrivals.amplitude: expected <= 1, found 1.5",
            "x.yaml:8:84: streams.0.arrivals.period: expected a time > 0, found '0 s'",
        ],
    ),
    "exciting itself": (
        changed(QUEUE, POISSON, "kind: hawkes, rate: 1 /s, branching: 1"),
        [
            "x.yaml:8:33: streams.0.arrivals.decay: required key is missing",
            "x.yaml:8:70: streams.0.arrivals.branching: expected < 1, found 1",
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
LINKS = {
    "links": (
        LINKED.replace("delay: 1 ms", "delay: 1 ms, sharing: fare, loss: 1, up: {loss: -0.1}"),
        [
            "x.yaml:10:64: topology.link.sharing: expected fifo, fair, none, found 'fare'; did "
            "you mean 'fair'?",
            "x.yaml:10:76: topology.link.loss: expected < 1, found 1",
            "x.yaml:10:90: topology.link.up.loss: expected >= 0, found -0.1",
        ],
    ),
    "transport": (
        QUEUE + "transport: {tries: 0, backoff: 20, retries: 3}\n",
        [
            "x.yaml:9:20: transport.tries: expected >= 1, found 0",
            "x.yaml:9:32: transport.backoff: expected a time such as '20 ms', '5 min' or "
            "'1 h 30 min', found 20 (a number without a unit)",
            "x.yaml:9:36: transport.retries: unknown key; did you mean 'tries'?",
        ],
    ),
    "grid and waxman": (
        QUEUE + "topology: {kind: grid, link: {delay: 1 ms}}\n",
        ["x.yaml:9:11: topology.width: required key is missing"],
    ),
    "waxman": (
        QUEUE + "topology: {kind: waxman, alpha: 0, beta: 2, link: {delay: 1 ms}}\n",
        [
            "x.yaml:9:33: topology.alpha: expected > 0, found 0",
            "x.yaml:9:42: topology.beta: expected <= 1, found 2",
        ],
    ),
    "no file": (
        QUEUE + "topology: {kind: graphml, file: net.graphml, link: {delay: 1 ms}}\n",
        ["x.yaml:9:33: topology.file: no such file: 'net.graphml'"],
    ),
}  # fmt: skip
LINK, LINK_PATH = "link: [edge-0, cloud]", "x.yaml:12"
FAULTS = {
    "misspelt kind": (
        LINKED + faults("kind: link-lousy, at: 1 s"),
        [
            "x.yaml:12:12: faults.0.kind: expected node-crash, cloud-outage, link-down, link-slow, "
            "link-lossy, partition, storage-slow, expert-lost, expert-corrupt, telemetry-loss, "
            "feedback-spoiled, found 'link-lousy'; did you mean 'link-lossy'?"
        ],
    ),
    "again and again": (
        LINKED
        + faults(
            "kind: node-crash, node: edge-0, at: 5 s, every: 9 s",
            "kind: node-crash, node: edge-0, at: 5 s, for: 2 s, every: 2 s, until: 4 s",
            "kind: node-crash, node: edge-0, at: 5 s, for: 2 s, until: 9 s",
            "kind: node-crash, node: edge-0, mtbf: 1 min, mttr: 2 s, every: 9 s",
        ),
        [
            "x.yaml:12:54: faults.0.every: 'every' needs 'for' too",
            "x.yaml:13:64: faults.1.every: expected more than 'for' (2.00 s), found 2.00 s",
            "x.yaml:13:76: faults.1.until: expected later than 'at' (5.00 s), found 4.00 s",
            "x.yaml:14:64: faults.2.until: only with 'every'",
            "x.yaml:15:69: faults.3.every: only with 'at'; drawn failures come again anyway",
        ],
    ),
    "numbers": (
        LINKED
        + faults(
            "kind: link-slow, link: [edge-0, cloud], at: 1 s, factor: 0.5",
            "kind: link-lossy, link: [edge-0, cloud], at: 1 s, loss: 0",
            "kind: node-crash, node: edge-0, at: 1 s, work: kept, together: 1",
            "kind: storage-slow, node: edge-0, at: 1 s",
            "kind: expert-lost, node: edge-0, at: 1 s, experts: [], layers: [-1]",
            "kind: feedback-spoiled, node: edge-0, at: 1 s, value: none",
        ),
        [
            "x.yaml:12:62: faults.0.factor: expected >= 1, found 0.5",
            "x.yaml:13:61: faults.1.loss: expected > 0, found 0",
            "x.yaml:14:52: faults.2.work: expected drop, keep, resume, migrate, found 'kept'; did "
            "you mean 'keep'?",
            "x.yaml:14:68: faults.2.together: expected true or false, found 1",
            "x.yaml:15:5: faults.3.factor: required key is missing",
            "x.yaml:16:56: faults.4.experts: expected at least 1 items, found 0",
            "x.yaml:16:69: faults.4.layers.0: expected >= 0, found -1",
            "x.yaml:17:59: faults.5.value: expected 'nan', 'inf', '-inf' or a number, found 'none'",
        ],
    ),
    "without effect": (
        LINKED
        + faults(
            "kind: link-slow, link: [edge-0, cloud], at: 1 s",
            "kind: storage-slow, node: edge-0, at: 1 s, factor: 1",
        ),
        [
            "x.yaml:12:5: faults.0: does nothing: expected 'factor' > 1 or 'delay' > 0 s",
            "x.yaml:13:5: warning: faults.1: has no effect: no experts are read with `model: none`",
            "x.yaml:13:56: faults.1.factor: does nothing: expected > 1, found 1",
        ],
    ),
    "targets": (
        changed(LINKED, "{group: cloud}", "{group: hub, servers: 0}\n  - {group: cloud}")
        + faults(
            "kind: partition, nodes: [edge-7], at: 1 s",
            "kind: cloud-outage, group: edge-0, at: 1 s",
            "kind: link-slow, link: [edge-0, clod], factor: 2, at: 1 s",
        ),
        [
            "x.yaml:13:30: faults.0.nodes.0: unknown node or group 'edge-7'; did you mean "
            "'edge-0'? (allowed: edge, hub, cloud, edge-0, edge-1, hub-0, cloud-0)",
            "x.yaml:14:32: faults.1.group: unknown group 'edge-0'; did you mean 'edge'? "
            "(allowed: edge, hub, cloud)",
            "x.yaml:15:37: faults.2.link.1: unknown node or group 'clod'; did you mean 'cloud'? "
            "(allowed: edge, hub, cloud, edge-0, edge-1, hub-0, cloud-0)",
        ],
    ),
    "nothing to take": (
        changed(LINKED, "{group: cloud}", "{group: hub, servers: 0}\n  - {group: cloud}")
        + faults(
            "kind: partition, nodes: [edge, hub, cloud], at: 1 s",
            "kind: telemetry-loss, node: hub, at: 1 s",
            "kind: link-lossy, link: [edge, cloud], at: 1 s, loss: 0.5",
            "kind: link-slow, link: [edge-0, edge-1], at: 1 s, factor: 2",
        ),
        [
            "x.yaml:13:29: faults.0.nodes: nobody is left on the other side",
            "x.yaml:14:33: faults.1.node: 'hub' has no servers and only forwards; take its links "
            "down instead",
            "x.yaml:15:29: faults.2.link: expected two single nodes, such as 'edge-3'; found a "
            "group",
            "x.yaml:15:59: warning: faults.2.loss: what is lost is not sent again: "
            "`transport: {tries: 1}`",
            "x.yaml:16:28: faults.3.link: no link joins 'edge-0' and 'edge-1'",
        ],
    ),
    "what a model decides": (
        changed(MODEL, "hub: cloud", "hub: cloud, over: [edge]").replace(
            "a100-40gb}", "a100-40gb}\n  - {group: alone, hardware: t4}"
        )
        + faults(
            "kind: node-crash, node: edge-0, at: 1 s, work: resume",
            "kind: expert-lost, node: alone, at: 1 s, experts: [0]",
            "kind: expert-corrupt, node: edge, at: 1 s, experts: [0, 8], layers: [0, 99]",
        ),
        [
            "x.yaml:12:52: faults.0.work: 'resume' needs `model: none`: a model's batches start "
            "again; use 'keep'",
            "x.yaml:13:30: faults.1.node: 'alone-0' has nowhere to fetch a lost expert from: "
            "expected links to another node with servers",
            "x.yaml:14:62: faults.2.experts.1: expected experts from 0 to 7, found 8",
            "x.yaml:14:78: faults.2.layers.1: expected layers from 0 to 3, found 99",
        ],
    ),
    "experts without a model": (
        QUEUE + faults("kind: expert-lost, node: edge, at: 1 s, experts: [0]"),
        ["x.yaml:10:5: faults.0: expert-lost needs a model"],
    ),
}  # fmt: skip
BROKEN = {**STATIONS, **STREAMS, **LINKS, **FAULTS}


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
            STREAM + ", patience: {kind: exponential, mean: 1 s}, deadline: 1 s, late: drop",
        ),
        [
            "x.yaml:8:66: warning: streams.0.patience: has no effect: where discipline is sharing "
            "nobody waits",
            "x.yaml:8:123: warning: streams.0.late: has no effect: where discipline is sharing "
            "nobody waits",
        ],
    ),
    "what is lost stays lost": (
        LINKED.replace("delay: 1 ms", "delay: 1 ms, up: {loss: 0.1}"),
        [
            "x.yaml:10:64: warning: topology.link.up.loss: what is lost is not sent again: "
            "`transport: {tries: 1}`"
        ],
    ),
    "waiting for no second try": (
        QUEUE + "transport: {backoff: 1 s}\n",
        ["x.yaml:9:22: warning: transport.backoff: has no effect: expected tries > 1"],
    ),
    "no batches": (
        changed(QUEUE, "mean: 10 ms", "mean: 10 ms, each: 2 ms"),
        [
            "x.yaml:4:50: warning: service.each: has no effect: every group's batches hold one "
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
    "experts that are not stored": (
        changed(MODEL, "count: 2", "experts_from: cloud")
        + faults("kind: expert-lost, node: edge, at: 1 s, experts: [0]"),
        [
            "x.yaml:11:30: warning: faults.0.node: has no effect: 'edge' stores no experts, they "
            "come from 'experts_from'"
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
