"""From words to the world: stations, streams, arrivals, transport and faults."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scenarios import loader
from sim.arrivals.emission import mean_rate_per_s
from sim.config import ArrivalSpec, FaultSpec, ServiceSpec, Setup, TransportSpec
from sim.errors import InputError
from tests.scenarios.test_build import HEAD, MODEL, NODES, STREAM, ends, world

STAR = "topology: {kind: star, hub: cloud, link: {delay: 1 ms}}\n"
FEW = MODEL + (
    "nodes: [{group: edge, count: 2, hardware: t4}, {group: cloud, hardware: t4}]\n" + STREAM + STAR
)


def test_stations_have_their_discipline_share_and_set_up():
    nodes = """\
nodes:
  - {group: edge, discipline: priority, setup: {time: 2 s}}
  - {group: warm, setup: {time: 1 s, keep: unlimited}}
  - {group: web, servers: 3, discipline: sharing, job_share: 0.5}
  - {group: plain}
"""
    edge, warm, web, plain = world(HEAD + nodes + STREAM).nodes
    assert (edge.discipline, edge.setup) == ("priority", Setup(2.0, 0.0))
    assert warm.setup == Setup(1.0, math.inf)
    assert (web.discipline, web.job_share, web.servers) == ("sharing", 0.5, 3)
    assert (plain.discipline, plain.job_share, plain.setup) == ("fifo", 1.0, None)


def test_experts_come_from_one_node_where_there_are_any():
    text = FEW.replace("count: 2, hardware: t4", "count: 2, hardware: t4, experts_from: cloud")
    assert [node.experts_from for node in world(text).nodes] == [2, 2, None]
    bare = (HEAD + NODES + STREAM).replace("count: 4", "count: 4, experts_from: cloud")
    assert [node.experts_from for node in world(bare).nodes] == [None] * 5


def test_streams_have_their_own_service_patience_and_sizes():
    more = """\
    service: {kind: erlang, mean: 5 ms}
    patience: {kind: deterministic, mean: 1 s}
    deadline: 2 s
    late: drop
    size: {up: 1 KiB, down: 1 B, law: lognormal, cv: 0.7}
"""
    text = HEAD.replace("10 ms", "10 ms, each: 2 ms") + NODES
    text += "streams:\n  - at: edge-1\n    arrivals: {kind: poisson, rate: 1 /s}\n" + more
    text += "  - {at: edge-1, arrivals: {kind: poisson, rate: 1 /s}, size: {law: lognormal}}\n"
    built = world(text)
    own, plain = built.streams
    assert built.service == ServiceSpec("exponential", 0.01, 1.0, 0.002)
    assert own.service == ServiceSpec("erlang", 0.005, 0.5)
    assert own.patience == ServiceSpec("deterministic", 1.0, 0.0)
    assert (own.late, own.size_law, own.size_cv) == ("drop", "lognormal", 0.7)
    assert (plain.service, plain.patience, plain.late, plain.size_cv) == (None, None, "serve", 1.0)


def arrivals(words, load=1):
    text = HEAD + f"load: {load}\n" + NODES
    return world(text + f"streams: [{{at: edge-0, arrivals: {words}}}]\n").streams[0].arrivals


def test_modulated_arrivals_declare_the_mean_rate_that_they_have():
    states = "states: [{rate: 1 /s, stay: 3 s}, {rate: 11 /s, stay: 1 s}, {rate: 2 /s, stay: 4 s}]"
    turns = arrivals(f"{{kind: mmpp, {states}}}", load=2)
    assert turns == ArrivalSpec(
        "mmpp", turns.rate_per_s, rates_per_s=(2.0, 22.0, 4.0), stays_s=(3.0, 1.0, 4.0)
    )
    # each state once a round: 3 s of 2 /s, 1 s of 22 /s, 4 s of 4 /s
    assert turns.rate_per_s == pytest.approx((6 + 22 + 16) / 8)
    jumps = "jumps: [[0, 0.25, 0.75], [1, 0, 0], [0.5, 0.5, 0]]"
    found = arrivals(f"{{kind: mmpp, {states}, {jumps}}}")
    assert found.jumps == ((0.0, 0.25, 0.75), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0))
    # the slow twin: visits by powers of the chain
    visits = np.linalg.matrix_power((np.array(found.jumps) + np.eye(3)) / 2, 2000)[0]
    stays_s = visits * found.stays_s
    assert found.rate_per_s == pytest.approx(stays_s @ found.rates_per_s / stays_s.sum())
    assert found.rate_per_s == pytest.approx(mean_rate_per_s(found, 60.0))


def test_daily_and_self_exciting_arrivals():
    daily = "{kind: diurnal, rate: 3 /s, amplitude: 0.8, period: 1 h, peak: 10 min}"
    assert arrivals(daily, load=2) == ArrivalSpec(
        "diurnal", 6.0, amplitude=0.8, period_s=3600.0, peak_s=600.0
    )
    assert arrivals("{kind: diurnal, rate: 3 /s}").period_s == 86400.0
    hawkes = "{kind: hawkes, rate: 3 /s, branching: 0.6, decay: 2 s}"
    assert arrivals(hawkes, load=2) == ArrivalSpec("hawkes", 6.0, branching=0.6, decay_s=2.0)


def test_transfers_are_tried_again():
    assert world(HEAD + NODES + STREAM).transport == TransportSpec(1, 0.0)
    text = HEAD + NODES + STREAM + "transport: {tries: 4, backoff: 20 ms}\n"
    assert world(text).transport == TransportSpec(4, 0.02)


def test_links_lose_and_share_each_way():
    link = "link: {delay: 1 ms, loss: 0.02, sharing: fair, up: {loss: 0.5}, down: {sharing: none}}"
    built = world(HEAD + NODES + STREAM + f"topology: {{kind: star, hub: cloud, {link}}}\n")
    assert {(w.loss, w.sharing) for w in built.links if w.dst == 4} == {(0.5, "fair")}
    assert {(w.loss, w.sharing) for w in built.links if w.src == 4} == {(0.02, "none")}


# --- faults ----------------------------------------------------------------------------------


def broken(faults, text=HEAD + NODES + STREAM + STAR):
    return world(text + "faults:\n" + "".join(f"  - {{{fault}}}\n" for fault in faults))


def test_faults_at_links_hit_both_ways_by_one_draw():
    drawn = "link: [edge-2, cloud], mtbf: 1 min, mttr: 5 s"
    kinds = ("link-slow, factor: 4, delay: 2 ms", "link-lossy, loss: 0.3", "link-down")
    built = broken([f"kind: {kind}, {drawn}" for kind in kinds])
    slow, lossy, *down = built.faults
    assert ends(built.links)[slow.target] == (2, 4)
    assert [ends(built.links)[i] for i in slow.also] == [(4, 2)]
    assert (slow.factor, slow.delay_s, slow.loss) == (4.0, 0.002, 0.0)
    assert (lossy.target, lossy.also, lossy.loss) == (slow.target, slow.also, 0.3)
    # a drawn `link-down` comes to each way on its own unless asked otherwise
    assert [(f.target, f.also) for f in down] == [(slow.target, ()), (*slow.also, ())]
    together = broken([f"kind: link-down, {drawn}, together: true"]).faults
    assert [(f.target, f.also) for f in together] == [(slow.target, slow.also)]


def test_a_partition_takes_all_links_between_some_and_the_rest():
    ring = "topology: {kind: ring, over: [edge], link: {delay: 1 ms}, "
    ring += "extra: [{between: [edge-1, cloud], delay: 1 ms}]}\n"
    text = HEAD + NODES + STREAM + ring
    fault = "kind: partition, nodes: [edge-0, edge-1], at: 5 s, for: 2 s, every: 9 s, until: 30 s"
    built = broken([fault], text)
    (cut,) = built.faults
    hit = {ends(built.links)[i] for i in (cut.target, *cut.also)}
    assert hit == {(0, 3), (3, 0), (1, 2), (2, 1), (1, 4), (4, 1)}
    assert (cut.kind, cut.at_s, cut.for_s, cut.every_s, cut.until_s) == (
        "link-down", 5.0, 2.0, 9.0, 30.0
    )  # fmt: skip
    alone = HEAD + NODES + STREAM + ring.split("extra")[0].rstrip(", ") + "}\n"
    with pytest.raises(InputError, match=r"faults.0.nodes: no link leads from these nodes to any"):
        broken(["kind: partition, nodes: [edge], at: 5 s"], alone)


def test_an_outage_of_a_group_is_one_crash_of_all_its_nodes():
    crash = "mtbf: 1 min, mttr: 2 s, work: migrate"
    outage = broken([f"kind: cloud-outage, group: edge, {crash}"]).faults
    together = broken([f"kind: node-crash, node: edge, together: true, {crash}"]).faults
    expected = FaultSpec("node-crash", 0, None, math.inf, 60.0, 2.0, also=(1, 2, 3), work="migrate")
    assert outage == together == (expected,)
    assert [f.target for f in broken(["kind: cloud-outage, at: 1 s"]).faults] == [4]


def test_faults_of_nodes_carry_what_they_do():
    faults = [
        "kind: storage-slow, node: edge-1, at: 1 s, factor: 8",
        "kind: expert-lost, node: edge-1, at: 1 s, experts: [3, 1, 3], layers: [1]",
        "kind: expert-corrupt, node: edge, at: 1 s, experts: [5]",
        "kind: telemetry-loss, node: edge-0, at: 1 s, for: 2 s",
        "kind: feedback-spoiled, node: edge-0, at: 1 s, value: -inf",
        "kind: feedback-spoiled, node: edge-0, at: 1 s",
        "kind: feedback-spoiled, node: edge-0, at: 1 s, value: 1e30",
    ]
    slow, lost, *corrupt, deaf, low, nan, huge = broken(faults, FEW).faults
    assert (slow.target, slow.factor) == (1, 8.0)
    assert (lost.kind, lost.experts) == ("expert-lost", ((1, 1), (1, 3)))
    assert [(f.target, f.experts) for f in corrupt] == [(node, ((0, 5), (1, 5))) for node in (0, 1)]
    assert (deaf.kind, deaf.target, deaf.for_s) == ("telemetry-loss", 0, 2.0)
    assert (low.value, huge.value) == (-math.inf, 1e30)
    assert math.isnan(nan.value)


def test_new_words_survive_the_round_trip():
    text = FEW.replace(
        "rate: 20 /s}",
        "rate: 20 /s}, name: alarm, priority: 3, deadline: 1 s, "
        "late: drop, patience: {kind: erlang, mean: 1 s, cv: 0.3}, size: {law: exponential}",
    ).replace("count: 2,", "count: 2, discipline: priority, setup: {time: 1 s, keep: unlimited},")
    text += "transport: {tries: 2, backoff: 5 ms}\n"
    text += "faults: [{kind: feedback-spoiled, node: edge, at: 1 s, value: .nan}, {kind: partition,"
    text += " nodes: [cloud], mtbf: 1 h, mttr: 1 s}]\nassert: ['p50_latency[alarm] < 1 s']\n"
    scenario = loader.loads(text)
    assert loader.loads(loader.resolved(scenario)) == scenario


# --- topologies and traces -------------------------------------------------------------------


def test_a_grid_has_rows_in_file_order():
    links = world(HEAD + NODES + STREAM + "topology: {kind: grid, width: 3, link: {delay: 1 ms}}\n")
    assert ends(links.links)[::2] == [(0, 1), (0, 3), (1, 2), (1, 4), (3, 4)]


def test_a_waxman_graph_is_connected_and_follows_the_seed_only():
    text = HEAD + "nodes: [{group: edge, count: 30}]\n" + STREAM
    text += "topology: {kind: waxman, alpha: 0.2, beta: 0.5, link: {delay: 1 ms}}\n"
    links = world(text).links
    assert links == world(text).links != world(text, seed=2).links
    reached = [0]
    for node in reached:
        reached += [b for a, b in ends(links) if a == node and b not in reached]
    assert sorted(reached) == list(range(30))
    assert len(links) < len(world(text.replace("alpha: 0.2", "alpha: 2")).links)


def test_a_trace_says_more_of_its_requests(tmp_path):
    rows = '{"t_s": 1, "up_bytes": 5, "down_bytes": 6, "service_s": 0.5, "priority": 2}\n'
    rows += '{"t_s": 4, "up_bytes": 7, "down_bytes": 8, "service_s": 0.25, "deadline_s": 3}\n'
    (tmp_path / "t.jsonl").write_text(rows, encoding="utf-8")
    trace = "{kind: trace, file: t.jsonl}"
    text = HEAD + NODES + f"load: 2\nstreams: [{{at: edge-0, arrivals: {trace}}}]\n"
    found = world(text, folder=tmp_path).streams[0].arrivals
    assert found.times_s == (0.5, 2.0)  # a higher load plays it faster
    assert (found.up_bytes, found.down_bytes) == ((5.0, 7.0), (6.0, 8.0))
    assert (found.services_s, found.priorities) == ((0.5, 0.25), (2, None))
    assert found.deadlines_s[1] == 3.0
    modelled = FEW.replace("{kind: poisson, rate: 20 /s}", trace)
    assert world(modelled, folder=tmp_path).streams[0].arrivals.services_s == ()


def test_a_trace_may_say_when_its_requests_are_late(tmp_path):
    text = HEAD + NODES
    text += "streams: [{at: edge-0, arrivals: {kind: trace, file: t.csv}, late: drop}]\n"
    (tmp_path / "t.csv").write_text("t_s,deadline_s\n1,\n4,0.5\n", encoding="utf-8")
    (stream,) = world(text, folder=tmp_path).streams
    assert (stream.late, stream.deadline_s) == ("drop", math.inf)
    assert stream.arrivals.deadlines_s[1] == 0.5
    (tmp_path / "t.csv").write_text("t_s\n1\n4\n", encoding="utf-8")
    words = r"streams\.0\.late: 'drop' needs a 'deadline', and 't.csv' has none"
    with pytest.raises(InputError, match=words):
        world(text, folder=tmp_path)


def test_a_published_trace_counts_tokens(tmp_path):
    rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    rows += "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    (tmp_path / "azure.csv").write_text(rows, encoding="utf-8")
    trace = "{kind: trace, file: azure.csv, format: azure-llm, bytes_per_token: 2}"
    text = HEAD + NODES + f"streams: [{{at: edge-0, arrivals: {trace}}}]\n"
    found = world(text, folder=tmp_path).streams[0].arrivals
    assert found.times_s == pytest.approx((0.0, 4.314579))
    assert (found.up_bytes, found.down_bytes) == ((748.0, 792.0), (88.0, 218.0))
