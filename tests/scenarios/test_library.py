"""The bundled scenarios: each asks a question, is without fault, and keeps within its budget."""

from __future__ import annotations

import math

import pytest

from scenarios import loader, paths
from scenarios.build import build_policy, build_world, policies
from scenarios.schema_checks_load import expected_requests
from sim.compute.cost import CostModel

LIBRARY = loader.bundled()
# seconds on one core: an event-driven request, its merged scoring, a decision of Tanbr
REQUEST_S, SCORING_S, DECISION_S = 40e-6, 50e-6, 4e-3
LIMIT_S = {"quickstart": 30.0}


def test_the_promised_ones_are_there():
    promised = (
        "common-job delayed-feedback drift-abrupt drift-gradual flapping flash-crowd interactive"
        " large-batch lossy-radio many-experts memory-limited memory-starved metro new-task"
        " node-failure paper partition priority-slo quickstart recurring scarce-labels storage-slow"
    )
    assert list(LIBRARY) == promised.split()


@pytest.mark.parametrize("name", LIBRARY)
def test_each_asks_a_question_and_names_the_schema(name):
    lines = LIBRARY[name].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../scenario.schema.json"
    assert lines[1].startswith("# ")
    assert lines[1].endswith("?")
    assert loader.question(LIBRARY[name]) == lines[1][2:]
    assert all(len(line) <= 110 for line in lines)


@pytest.mark.parametrize("name", LIBRARY)
def test_each_is_without_fault_and_round_trips(name):
    found = loader.diagnose(name)
    assert [str(problem) for problem in found.problems] == []
    assert found.scenario.name == name
    assert loader.loads(loader.resolved(found.scenario)) == found.scenario


@pytest.mark.parametrize("name", LIBRARY)
def test_each_builds_for_any_seed(name):
    scenario = loader.load(name)
    for seed in (1, 2):
        world = build_world(scenario, seed, paths.card(scenario))
        assert world.name == name
    for policy in policies(scenario):
        assert build_policy(scenario, policy.label) == policy


@pytest.mark.parametrize("name", LIBRARY)
def test_each_keeps_within_its_budget(name):
    scenario = loader.load(name)
    world = build_world(scenario, 1, paths.card(scenario))
    cost_s = expected_requests(scenario) * REQUEST_S
    if scenario.model:
        routed = sum(node.plan is None and node.servers > 0 for node in world.nodes)
        cost_s += expected_requests(scenario) * SCORING_S + world.slots * routed * DECISION_S
    assert cost_s < LIMIT_S.get(name, 120.0)


def utilisation(name, gated):
    """Return the busy share of an edge server whose batches hold up to four requests."""
    scenario = loader.load(name)
    card = paths.card(scenario)
    world = build_world(scenario, 1, card)
    node = next(n for n in world.nodes if n.group == "edge")
    cost = CostModel(world.model.cost_as, card, node.hardware)
    rate = world.streams[0].arrivals.rate_per_s
    n = min(4, node.batching.max_size)
    batch = cost.gated(n, 2, (card.experts,) * card.layers) if gated else cost.merged(n)
    return rate * batch.service_s / n / node.servers


@pytest.mark.parametrize("name", ["quickstart", "metro", "node-failure"])
def test_loads_are_sane_and_top_2_is_heavier(name):
    merged, top2 = utilisation(name, gated=False), utilisation(name, gated=True)
    assert 0.25 < merged < 0.7
    assert merged < top2 < 0.95


def test_metro_is_large_but_short():
    scenario = loader.load("metro")
    world = build_world(scenario, 1, paths.card(scenario))
    assert sum(node.group == "edge" for node in world.nodes) == 100
    assert world.slots <= 120
    per_slot = world.streams[0].arrivals.rate_per_s * world.slot_s
    assert 8 <= per_slot <= 16


def test_paper_has_its_slots():
    scenario = loader.load("paper")
    world = build_world(scenario, 1, paths.card(scenario))
    assert len(world.nodes) == 1
    assert world.duration_s / world.slot_s >= 2000


def test_the_memory_starved_cannot_hold_all_experts():
    scenario = loader.load("memory-starved")
    card = paths.card(scenario)
    world = build_world(scenario, 1, card)
    edge = world.nodes[0]
    cost = CostModel(world.model.cost_as, card, edge.hardware)
    assert cost.backbone_bytes + cost.all_experts_bytes > edge.hardware.memory_bytes
    assert cost.backbone_bytes + 2 * cost.merged_bytes < edge.hardware.memory_bytes
    assert edge.cache == "lru"


def test_the_common_job_is_the_one_of_the_comparison():
    world = build_world(loader.load("common-job"), 1, None)
    servers = [node for node in world.nodes if node.servers]
    assert len(servers) == 100
    (stream,) = world.streams
    utilisation = stream.arrivals.rate_per_s * world.service.mean_s / len(servers)
    assert utilisation == pytest.approx(0.7)
    for wire in world.links:
        there = wire.src == stream.node
        size_bytes = stream.up_bytes if there else stream.down_bytes
        transit_s = wire.delay_s + size_bytes / wire.bytes_per_s
        assert transit_s == pytest.approx(2.8e-3 if there else 2.08e-3)
    assert {w.sharing for w in world.links} == {"none"}


def test_the_common_job_scales_to_a_thousand_nodes():
    settings = ["nodes.node.count=1000", "streams.0.arrivals.rate=70000 /s"]
    world = build_world(loader.load("common-job", settings), 1, None)
    assert len(world.nodes) == 1001
    assert world.streams[0].arrivals.rate_per_s == 70_000.0


def test_the_flash_crowd_is_five_times_the_usual():
    profile = (
        build_world(loader.load("flash-crowd"), 1, paths.card(loader.load("flash-crowd")))
        .streams[0]
        .arrivals.profile
    )
    rates = [rate for _, rate in profile]
    assert math.isclose(max(rates), 5 * min(rates))


def test_the_template_is_a_scenario_without_fault():
    assert loader.diagnose(loader.TEMPLATE).problems == ()
