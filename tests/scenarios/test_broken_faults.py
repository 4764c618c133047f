"""Broken and odd words of links and faults, and how they are answered."""

from __future__ import annotations

import pytest

from tests.scenarios.test_broken import told
from tests.scenarios.words import MODEL, QUEUE, changed

LINKED = (
    changed(QUEUE, "count: 2}", "count: 2}\n  - {group: cloud}")
    + "topology: {kind: star, hub: cloud, link: {delay: 1 ms}}\n"
)


def faults(*texts):
    return "faults:\n" + "".join(f"  - {{{text}}}\n" for text in texts)


LINKS = {
    "links": (
        LINKED.replace("delay: 1 ms", "delay: 1 ms, sharing: fare, loss: 1, up: {loss: -0.1}"),
        [
            "x.yaml:10:65: topology.link.sharing: expected fifo, fair, none, found 'fare'; did "
            "you mean 'fair'?",
            "x.yaml:10:77: topology.link.loss: expected < 1, found 1",
            "x.yaml:10:91: topology.link.up.loss: expected >= 0, found -0.1",
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
    "no width": (
        QUEUE + "topology: {kind: grid, link: {delay: 1 ms}}\n",
        ["x.yaml:9:11: topology.width: required key is missing"],
    ),
    "too wide": (
        QUEUE + "topology: {kind: grid, width: 3, link: {delay: 1 ms}}\n",
        ["x.yaml:9:31: topology.width: expected at most the number of nodes (2), found 3"],
    ),
    "too many pairs": (
        changed(QUEUE, "count: 2", "count: 2001")
        + "topology: {kind: waxman, link: {delay: 1 ms}}\n",
        ["x.yaml:9:11: topology: waxman: expected at most 2000 nodes, found 2001"],
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
    "too many": (
        LINKED
        + faults(
            "kind: node-crash, node: edge-0, mtbf: 1 us, mttr: 1 us",
            "kind: node-crash, node: edge-0, at: 1 s, for: 1 us, every: 2 us",
        ),
        [
            "x.yaml:12:44: faults.0.mtbf: expected at most 200000 outages in a run, found 6e+07",
            "x.yaml:13:65: faults.1.every: expected at most 200000 outages in a run, found "
            "5.95e+07",
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
            "x.yaml:12:63: faults.0.factor: expected >= 1, found 0.5",
            "x.yaml:13:62: faults.1.loss: expected > 0, found 0",
            "x.yaml:14:53: faults.2.work: expected drop, keep, resume, migrate, found 'kept'; did "
            "you mean 'keep'?",
            "x.yaml:14:69: faults.2.together: expected true or false, found 1",
            "x.yaml:15:5: faults.3.factor: required key is missing",
            "x.yaml:16:57: faults.4.experts: expected at least 1 items, found 0",
            "x.yaml:16:70: faults.4.layers.0: expected >= 0, found -1",
            "x.yaml:17:60: faults.5.value: expected 'nan', 'inf', '-inf' or a number, found 'none'",
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
            "x.yaml:13:57: faults.1.factor: does nothing: expected > 1, found 1",
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
            "x.yaml:13:31: faults.0.nodes.0: unknown node or group 'edge-7'; did you mean "
            "'edge-1'? (allowed: edge, hub, cloud, edge-0, edge-1, hub-0, cloud-0)",
            "x.yaml:14:33: faults.1.group: unknown group 'edge-0'; did you mean 'edge'? "
            "(allowed: edge, hub, cloud)",
            "x.yaml:15:38: faults.2.link.1: unknown node or group 'clod'; did you mean 'cloud'? "
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
            "x.yaml:13:30: faults.0.nodes: nobody is left on the other side",
            "x.yaml:14:34: faults.1.node: 'hub' has no servers and only forwards; take its links "
            "down instead",
            "x.yaml:15:30: faults.2.link: expected two single nodes, such as 'edge-3'; found a "
            "group",
            "x.yaml:15:60: warning: faults.2.loss: what is lost is not sent again: "
            "`transport: {tries: 1}`",
            "x.yaml:16:29: faults.3.link: no link joins 'edge-0' and 'edge-1'",
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
            "x.yaml:12:53: faults.0.work: 'resume' needs `model: none`: a model's batches start "
            "again; use 'keep'",
            "x.yaml:13:31: faults.1.node: 'alone-0' has nowhere to fetch a lost expert from: "
            "expected links to another node with servers",
            "x.yaml:14:62: faults.2.experts.1: expected experts from 0 to 7, found 8",
            "x.yaml:14:78: faults.2.layers.1: expected layers from 0 to 1, found 99",
        ],
    ),
    "experts without a model": (
        QUEUE + faults("kind: expert-lost, node: edge, at: 1 s, experts: [0]"),
        ["x.yaml:10:5: faults.0: expert-lost needs a model"],
    ),
}  # fmt: skip
BROKEN = {**LINKS, **FAULTS}
WARNED = {
    "what is lost stays lost": (
        LINKED.replace("delay: 1 ms", "delay: 1 ms, up: {loss: 0.1}"),
        [
            "x.yaml:10:67: warning: topology.link.up.loss: what is lost is not sent again: "
            "`transport: {tries: 1}`"
        ],
    ),
    "waiting for no second try": (
        QUEUE + "transport: {backoff: 1 s}\n",
        ["x.yaml:9:22: warning: transport.backoff: has no effect: expected tries > 1"],
    ),
    "experts that are not stored": (
        changed(MODEL, "count: 2", "experts_from: cloud")
        + faults("kind: expert-lost, node: edge, at: 1 s, experts: [0]"),
        [
            "x.yaml:11:31: warning: faults.0.node: has no effect: 'edge' stores no experts, they "
            "come from 'experts_from'"
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [*BROKEN.values(), *WARNED.values()], ids=[*BROKEN, *WARNED]
)
def test_faults_and_links_are_answered_exactly(text, expected, tmp_path):
    assert told(text, tmp_path) == expected
