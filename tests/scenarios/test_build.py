"""From words to the world: ids, links, streams, faults, policies."""

from __future__ import annotations

import math
import re

import pytest

from scenarios import loader, paths
from scenarios.build import IDEAL, build_policy, build_world, policies
from scenarios.schema_names import Names
from sim.compute.architectures import ARCHITECTURES
from sim.compute.hardware import HARDWARE
from sim.config import DispatchSpec, FaultSpec, MixSpec, PolicySpec, ServiceSpec
from sim.errors import InputError, UnknownName
from sim.plans import Blend, ByTask, Merged, Single, TopK, uniform

HEAD = """\
name: tiny
duration: 1 min
model: none
service: {kind: exponential, mean: 10 ms}
"""
STREAM = "streams: [{at: edge, arrivals: {kind: poisson, rate: 20 /s}}]\n"
NODES = "nodes: [{group: edge, count: 4}, {group: cloud}]\n"
MODEL = """\
name: tiny
duration: 1 min
model: {checkpoint: "builtin:stream", cost_as: switch-base-8}
"""


def world(text, seed=1, **more):
    scenario = loader.loads(text, **more)
    return build_world(scenario, seed, paths.card(scenario))


def ends(links):
    return [(link.src, link.dst) for link in links]


def test_ids_and_names_follow_the_file():
    built = world(HEAD + NODES + STREAM)
    assert [(n.id, n.name, n.group) for n in built.nodes] == [
        (0, "edge-0", "edge"),
        (1, "edge-1", "edge"),
        (2, "edge-2", "edge"),
        (3, "edge-3", "edge"),
        (4, "cloud-0", "cloud"),
    ]
    assert [(s.id, s.name, s.node) for s in built.streams] == [
        (i, f"stream-0.edge-{i}", i) for i in range(4)
    ]
    assert built.nodes[0].hardware == IDEAL
    assert built.nodes[0].capacity == math.inf
    assert all(node.plan is None for node in built.nodes)  # no model, no plan
    assert built.service == ServiceSpec("exponential", 0.01, 1.0)


def test_references_name_groups_or_nodes():
    names = Names(loader.loads(HEAD + NODES + STREAM).nodes)
    assert list(names.ids("edge")) == [0, 1, 2, 3]
    assert list(names.ids("edge-2")) == [2]
    assert [names.name(i) for i in range(5)] == list(names.nodes)
    with pytest.raises(UnknownName, match="did you mean 'edge-3'"):
        names.ids("edge-9")


def test_a_star_has_two_links_per_leaf_and_up_is_towards_the_hub():
    link = "{delay: 8 ms, bandwidth: 100 Mbit/s, down: {bandwidth: unlimited}, up: {delay: 9 ms}}"
    built = world(HEAD + NODES + STREAM + f"topology: {{kind: star, hub: cloud, link: {link}}}\n")
    assert [link.id for link in built.links] == list(range(8))
    up = [link for link in built.links if link.dst == 4]
    down = [link for link in built.links if link.src == 4]
    assert sorted(link.src for link in up) == [0, 1, 2, 3] == sorted(link.dst for link in down)
    assert {(w.delay_s, w.bytes_per_s, w.sharing) for w in up} == {(0.009, 12.5e6, "fifo")}
    assert {(w.delay_s, w.bytes_per_s, w.sharing) for w in down} == {(0.008, math.inf, "fifo")}


def test_a_tree_hangs_in_file_order_and_up_is_towards_the_root():
    topology = "topology: {kind: tree, root: cloud, link: {delay: 1 ms, up: {delay: 2 ms}}}\n"
    built = world(HEAD + NODES + STREAM + topology)
    up = {(link.src, link.dst) for link in built.links if link.delay_s == 0.002}
    assert up == {(0, 4), (1, 4), (2, 0), (3, 0)}
    assert set(ends(built.links)) == up | {(b, a) for a, b in up}


def test_a_ring_over_some_groups_with_extra_links():
    topology = (
        "topology: {kind: ring, over: [edge], link: {delay: 1 ms}, "
        "extra: [{between: [edge-1, cloud], delay: 9 ms, sharing: none}]}\n"
    )
    built = world(HEAD + NODES + STREAM + topology)
    ring = {(0, 1), (1, 2), (2, 3), (3, 0)}
    both = ring | {(b, a) for a, b in ring} | {(1, 4), (4, 1)}
    assert set(ends(built.links)) == both
    assert len(built.links) == len(both)
    assert {w.sharing for w in built.links if 4 in (w.src, w.dst)} == {"none"}


def test_a_drawn_shape_follows_the_seed_only():
    text = HEAD + "nodes: [{group: edge, count: 30}]\n" + STREAM
    text += "topology: {kind: barabasi-albert, m: 2, link: {delay: 1 ms}}\n"
    assert world(text).links == world(text).links
    assert world(text).links != world(text, seed=2).links
    assert len(world(text).links) == 2 * 2 * 28


def test_listed_links_join_groups():
    topology = (
        "topology: {kind: explicit, links: [{between: [edge, edge], delay: 1 ms}, "
        "{between: [edge, cloud], delay: 2 ms}]}\n"
    )
    built = world(HEAD + NODES + STREAM + topology)
    mesh = {(a, b) for a in range(4) for b in range(4) if a != b}
    assert set(ends(built.links)) == mesh | {(i, 4) for i in range(4)} | {(4, i) for i in range(4)}
    assert len(built.links) == 12 + 8


def test_a_link_of_the_shape_cannot_be_listed_again():
    extra = "extra: [{between: [edge-0, edge-1], delay: 1 s}]"
    topology = f"topology: {{kind: ring, link: {{delay: 1 ms}}, {extra}}}\n"
    with pytest.raises(InputError, match="'edge-0' and 'edge-1' are joined twice"):
        world(HEAD + NODES + STREAM + topology)


def test_hardware_architecture_and_plans_come_from_presets_or_words():
    text = MODEL.replace(
        "switch-base-8",
        "{name: own, layers: 4, moe_layers: 4, experts: 8, expert_params: 1000.0, "
        "backbone_params: 5e4, tokens_per_request: 16, activation: 1 kB}",
    )
    text += """\
nodes:
  - group: edge
    hardware: t4
    memory: 2 GiB
    plan: {kind: merged, weights: [1, 3, 0, 0, 0, 0, 0, 0]}
  - {group: cloud, hardware: a100-40gb}
  - group: own
    hardware: {compute: 1 TFLOP/s, memory_bandwidth: 50 GB/s, memory: 4 GiB,
               storage_bandwidth: 1 GB/s, storage_delay: 100 us,
               kernel_time: 10 us, idle_power: 5 W, busy_power: 15 W}
    plan: {kind: single, expert: 3}
  - {group: tasks, hardware: t4, plan: {kind: by-task, experts: [0, 1, 2, 3, 4, 5, 6, 7]}}
  - {group: blends, hardware: t4, plan: {kind: blend}}
  - {group: seats, hardware: t4, plan: {kind: top-k, k: 1, capacity: 1.25}}
  - {group: plain, hardware: t4, plan: uniform}
streams: [{at: edge, arrivals: {kind: poisson, rate: 20 /s}}]
"""
    built = world(text)
    edge, cloud, own, tasks, blends, seats, plain = built.nodes
    assert edge.hardware.flop_per_s == HARDWARE["t4"].flop_per_s
    assert edge.hardware.memory_bytes == 2.0 * 2**30
    assert edge.plan == Merged((0.25, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert cloud.plan == TopK(2)
    assert own.hardware.flop_per_s == 1e12
    assert own.hardware.storage_delay_s == 1e-4
    assert own.plan == Single(3)
    assert tasks.plan == ByTask((0, 1, 2, 3, 4, 5, 6, 7), "cluster")
    assert blends.plan == Blend(2)
    assert seats.plan == TopK(1, capacity=1.25)
    assert plain.plan == uniform(8)
    assert built.model is not None
    assert built.model.cost_as.name == "own"
    assert built.model.cost_as.activation_bytes == 1000.0


def test_a_preset_architecture_is_taken_as_it_is():
    text = MODEL + "nodes: [{group: edge, hardware: t4}]\n" + STREAM
    assert world(text).model.cost_as == ARCHITECTURES["switch-base-8"]
    assert world(text.replace("switch-base-8", "self")).model.cost_as is None


def test_mixes_and_drift_become_vectors():
    text = MODEL + "nodes: [{group: edge, hardware: t4}]\n"
    text += """\
streams:
  - at: edge
    arrivals: {kind: poisson, rate: 20 /s}
    mix: {kind: explicit, weights: {topic: 3, "0": 1}}
    drift:
      - {kind: gradual, at: 10 s, over: 5 s, weights: [0, 0, 0, 0, 0, 0, 0, 2]}
      - {kind: recurring, every: 7 s}
      - {kind: new-task, at: 20 s, share: 0.25}
"""
    stream = world(text).streams[0]
    assert stream.mix == MixSpec("explicit", (0.25, 0.75, 0, 0, 0, 0, 0, 0))
    gradual, recurring, new = stream.drift
    assert (gradual.at_s, gradual.over_s) == (10.0, 5.0)
    assert gradual.weights == (0, 0, 0, 0, 0, 0, 0, 1)
    assert (recurring.at_s, recurring.every_s, recurring.weights) == (0.0, 7.0, ())
    assert (new.at_s, new.share) == (20.0, 0.25)


def test_load_scales_every_rate():
    steps = "{kind: profile, steps: [{at: 0 s, rate: 10 /s}, {at: 15 s, rate: 50 /s}]}"
    text = HEAD + NODES + "load: 2\n" + STREAM.replace("{kind: poisson, rate: 20 /s}", steps)
    arrivals = world(text).streams[0].arrivals
    assert arrivals.profile == ((0.0, 20.0), (15.0, 100.0))
    assert arrivals.rate_per_s == pytest.approx((15 * 20 + 45 * 100) / 60)
    assert world(HEAD + NODES + "load: 2\n" + STREAM).streams[0].arrivals.rate_per_s == 40.0


def test_a_profile_counts_up_to_the_end_of_arrivals():
    steps = "[{at: 0 s, rate: 10 /s}, {at: 45 s, rate: 50 /s}, {at: 2 min, rate: 9 /s}]"
    profile = f"{{kind: profile, steps: {steps}}}"
    text = HEAD + NODES + STREAM.replace("{kind: poisson, rate: 20 /s}", profile)
    assert world(text).streams[0].arrivals.rate_per_s == pytest.approx((45 * 10 + 15 * 50) / 60)


def test_traces_are_read_by_node_and_task(tmp_path):
    rows = "t_s,task,node\n0.5,topic,edge-0\n1,3,edge-1\n1,,\n4,sentiment,edge-0\n"
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    text = MODEL + "load: 2\nnodes: [{group: edge, count: 2, hardware: t4}]\n"
    text += "streams: [{at: edge, arrivals: {kind: trace, file: t.csv}}]\n"
    first, second = (s.arrivals for s in world(text, folder=tmp_path).streams)
    assert first.times_s == (0.25, 0.5, 2.0)
    assert first.tasks == (1, -1, 0)
    assert second.times_s == (0.5, 0.5)
    assert second.tasks == (3, -1)
    assert first.rate_per_s is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("time\n1\n", "t.csv:1: unknown column 'time' (allowed: t_s, task, node, up_bytes,"),
        ("task\n1\n", "deadline_s (needed: t_s), found 'task': no 't_s'"),
        ("t_s\n1\n0.5\n", "t.csv:3: t_s: 0.5 is before the row above (1.0)"),
        ("t_s\nsoon\n", "t.csv:2: t_s: expected seconds, found 'soon'"),
        ("t_s\n-1\n", "t.csv:2: t_s: expected finite seconds >= 0, found '-1'"),
        ("t_s\nnan\n", "t.csv:2: t_s: expected finite seconds >= 0, found 'nan'"),
        ("t_s,task\n1\n", "t.csv:2: expected 2 columns, found 1"),
        ("", "t.csv:1: expected columns t_s, task, node, up_bytes, down_bytes, service_s,"),
        ("t_s,task\n1,topik\n", "unknown task 'topik'; did you mean 'topic'?"),
    ],
)
def test_bad_traces_are_refused_by_line(rows, said, tmp_path):
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    text = MODEL + "nodes: [{group: edge, hardware: t4}]\n"
    text += "streams: [{at: edge, arrivals: {kind: trace, file: t.csv}}]\n"
    with pytest.raises(InputError, match=re.escape(said)):
        world(text, folder=tmp_path)


def test_faults_name_nodes_and_both_ways_of_a_link():
    text = HEAD + NODES + STREAM + "topology: {kind: star, hub: cloud, link: {delay: 1 ms}}\n"
    text += """\
faults:
  - {kind: node-crash, node: edge-1, at: 5 s, for: 2 s}
  - {kind: node-crash, node: edge, mtbf: 1 min, mttr: 5 s}
  - {kind: link-down, link: [edge-2, cloud], at: 9 s}
"""
    built = world(text)
    assert built.faults[0] == FaultSpec("node-crash", 1, 5.0, 2.0)
    assert built.faults[1:5] == tuple(
        FaultSpec("node-crash", node, None, math.inf, 60.0, 5.0) for node in range(4)
    )
    broken = [ends(built.links)[fault.target] for fault in built.faults[5:]]
    assert broken == [(2, 4), (4, 2)]
    assert all(fault.for_s == math.inf for fault in built.faults[5:])


def test_a_fault_on_a_link_that_was_not_drawn_is_refused():
    text = HEAD + NODES + STREAM + "topology: {kind: tree, root: cloud, link: {delay: 1 ms}}\n"
    text += "faults: [{kind: link-down, link: [edge-2, cloud], at: 9 s}]\n"
    with pytest.raises(InputError, match=r"faults.0.link: no link joins 'edge-2' and 'cloud-0'"):
        world(text)


POLICIES = """\
policies:
  - tanbr
  - {kind: top-k, k: 3, label: top3}
  - kind: tanbr
    label: slow
    params: {beta: 1.5}
    cache: lru
    dispatch: {kind: least-loaded, view: every 1 s, to: edge}
  - {kind: uniform, label: far, dispatch: cloud}
"""


def test_policies_carry_parameters_and_overrides():
    nodes = "nodes: [{group: edge, count: 2, hardware: t4}, {group: cloud, hardware: t4}]\n"
    shape = "topology: {kind: star, hub: cloud, link: {delay: 1 ms}}\n"
    scenario = loader.loads(MODEL + nodes + shape + STREAM + POLICIES)
    tanbr, top3, slow, far = policies(scenario)
    assert tanbr == PolicySpec("tanbr", "tanbr")
    assert top3 == PolicySpec("top-k", "top3", {"k": 3})
    assert slow.dispatch == DispatchSpec("least-loaded", 1.0, "edge")
    assert (slow.cache, slow.params) == ("lru", {"beta": 1.5})
    assert far.dispatch == DispatchSpec("cloud", 0.0, "cloud")
    assert build_policy(scenario, "slow") == slow
    assert build_policy(scenario, "top-k") == top3
    assert build_policy(scenario, "single") == PolicySpec("single", "single")
    with pytest.raises(UnknownName, match="unknown policy 'top4'; did you mean 'top3'"):
        build_policy(scenario, "top4")


def test_without_a_model_policies_only_dispatch():
    text = HEAD + NODES + STREAM
    assert policies(loader.loads(text)) == []
    text += "policies: [{kind: none, label: spread, dispatch: local}]\n"
    spread = PolicySpec("none", "spread", dispatch=DispatchSpec("local"))
    assert policies(loader.loads(text)) == [spread]
    with pytest.raises(InputError, match=r"policy 'tanbr' needs a model; tiny has `model: none`"):
        build_policy(loader.loads(text), "tanbr")


def test_a_world_needs_the_card_of_its_model():
    scenario = loader.loads(MODEL + "nodes: [{group: edge, hardware: t4}]\n" + STREAM)
    with pytest.raises(InputError, match="needs its card"):
        build_world(scenario, 1, None)
