from __future__ import annotations

import subprocess
import sys

import pytest

from agents.hosting.blocks import block_of, make_specs, shard_of, split_blocks
from agents.hosting.inline import InlineExecutor
from sim.config import PolicySpec, World
from sim.errors import InputError
from tests.agents.hosting.tiny import TINY_ROUTERS, load_tiny, routers_of, tiny_world

POLICY = PolicySpec("listener", "listener")


def test_a_block_is_a_run_of_node_ids() -> None:
    assert [block_of(node, 4) for node in (0, 3, 4, 15)] == [0, 0, 1, 3]
    assert [block_of(node) for node in (63, 64)] == [0, 1]


def test_blocks_keep_their_members_when_nodes_are_missing() -> None:
    assert split_blocks([9, 1, 0, 6], 4) == {0: (0, 1), 1: (6,), 2: (9,)}


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_every_serving_node_is_in_exactly_one_shard_and_shard_of_finds_it(shards: int) -> None:
    specs = make_specs(tiny_world(), POLICY, shards=shards, block_size=4)
    owned = [(node, spec.shard) for spec in specs for _, nodes in spec.blocks for node in nodes]
    assert sorted(node for node, _ in owned) == list(range(15))  # node 15 only forwards
    assert all(shard_of(node, len(specs), 4) == shard for node, shard in owned)
    assert [spec.shard for spec in specs] == list(range(shards))


def test_only_nodes_without_a_fixed_plan_are_routed() -> None:
    specs = make_specs(tiny_world(), POLICY, shards=2, block_size=4)
    routed = sorted(node for spec in specs for node in spec.routed)
    assert routed == [n for n in range(15) if n not in (3, 7, 11)]


def test_no_more_shards_than_blocks() -> None:
    assert len(make_specs(tiny_world(), POLICY, shards=9, block_size=4)) == 4
    assert len(make_specs(tiny_world(), POLICY, shards=9)) == 1


def test_a_spec_carries_the_run() -> None:
    (spec,) = make_specs(tiny_world(), POLICY)
    world = tiny_world()
    assert (spec.checkpoint, spec.seed, spec.slot_s) == ("moody", world.seed, world.slot_s)
    assert (spec.all_nodes, spec.regret_sample, spec.policy) == (16, 0.5, POLICY)


def test_a_world_without_a_model_has_no_hosts() -> None:
    with pytest.raises(InputError, match="`model: none` has no hosts"):
        make_specs(World("w", 1, 1.0, 0.0, 1.0, (), (), ()), POLICY)


@pytest.mark.parametrize(("shards", "size"), [(0, 4), (1, 0)])
def test_counts_below_one_are_refused(shards: int, size: int) -> None:
    with pytest.raises(InputError, match="expected >= 1"):
        make_specs(tiny_world(), POLICY, shards=shards, block_size=size)


def test_blocks_and_launcher_load_no_heavy_library() -> None:
    code = (
        "import sys, agents.hosting.blocks, agents.hosting.launcher, agents.hosting.pool\n"
        "print(sorted({'torch', 'ray', 'scipy', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_routers_are_told_how_long_a_swap_takes_on_their_nodes() -> None:
    swap_s = {node: node / 10.0 for node in range(15)}
    specs = make_specs(tiny_world(), POLICY, shards=2, block_size=4, swap_s=swap_s)
    for spec in specs:
        told = {}
        (handle,) = InlineExecutor(load=load_tiny, routers=TINY_ROUTERS).start([spec])
        for router in routers_of(handle):
            nodes = router.setup.nodes.tolist()
            told |= dict(zip(nodes, router.setup.swap_s.tolist(), strict=True))
        assert told == {node: swap_s[node] for node in spec.routed}
    assert make_specs(tiny_world(), POLICY)[0].swap_s == ()
