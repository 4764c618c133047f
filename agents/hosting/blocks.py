"""Who owns which node: blocks of node ids, dealt to shards. Free of torch and Ray.

A block is the unit of everything that a host computes together, so its size is part of the result;
the number of shards is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.errors import InputError
from sim.ports import HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sim.config import PolicySpec, World

BLOCK_SIZE = 64


def block_of(node: int, block_size: int = BLOCK_SIZE) -> int:
    """Return the block of a node: consecutive ids share one."""
    return node // block_size


def shard_of(node: int, shards: int, block_size: int = BLOCK_SIZE) -> int:
    """Return the shard of a node; `shards` is the number of specs that `make_specs` returned."""
    return block_of(node, block_size) % shards


def split_blocks(nodes: Iterable[int], block_size: int = BLOCK_SIZE) -> dict[int, tuple[int, ...]]:
    """Group node ids by block, both ascending."""
    blocks: dict[int, list[int]] = {}
    for node in sorted(nodes):
        blocks.setdefault(block_of(node, block_size), []).append(node)
    return {block: tuple(members) for block, members in blocks.items()}


def make_specs(
    world: World,
    policy: PolicySpec,
    *,
    shards: int = 1,
    block_size: int = BLOCK_SIZE,
    swap_s: Mapping[int, float] | None = None,
) -> list[HostSpec]:
    """Describe the hosts of one run: block b goes to shard b % shards.

    Args:
        world: What the run is; nodes with servers are hosted, those without a fixed plan are
            routed.
        policy: Whose router decides for the routed nodes.
        shards: How many hosts to want; more than there are blocks are not made.
        block_size: Node ids per block.
        swap_s: Per node, the seconds that fetching and merging all experts takes there; None where
            no router is told.

    Returns:
        One spec per shard, in shard order.

    Raises:
        InputError: The world has no model, or a count is below 1.
    """
    if world.model is None:
        raise InputError(f"{world.name}: a run with `model: none` has no hosts")
    if shards < 1 or block_size < 1:
        raise InputError(f"shards and block size: expected >= 1, found {shards} and {block_size}")
    serving = [node for node in world.nodes if node.servers > 0]
    blocks = split_blocks((node.id for node in serving), block_size)
    routed = {node.id for node in serving if node.plan is None}
    shards = min(shards, max(blocks, default=0) + 1)
    specs = [
        _spec(world, policy, (shard, shards, block_size), blocks, routed) for shard in range(shards)
    ]
    if swap_s is None:
        return specs
    return [replace(s, swap_s=tuple(swap_s[node] for node in s.routed)) for s in specs]


def _spec(
    world: World,
    policy: PolicySpec,
    place: tuple[int, int, int],
    blocks: dict[int, tuple[int, ...]],
    routed: set[int],
) -> HostSpec:
    shard, shards, block_size = place
    owned = tuple((block, nodes) for block, nodes in blocks.items() if block % shards == shard)
    assert world.model is not None
    return HostSpec(
        checkpoint=world.model.checkpoint,
        seed=world.seed,
        slot_s=world.slot_s,
        block_size=block_size,
        shard=shard,
        blocks=owned,
        routed=tuple(node for _, nodes in owned for node in nodes if node in routed),
        policy=policy,
        regret_sample=world.regret_sample,
        all_nodes=len(world.nodes),
        clusters=world.model.clusters,
        pooled=world.feedback.pooled,
    )
