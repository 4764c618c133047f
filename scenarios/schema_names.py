"""Names of nodes and groups, what a reference to one means, and which nodes a topology joins."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from scenarios.schema_network import Explicit, GraphML, Star, Tree
from sim.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scenarios.problems import Path
    from scenarios.schema_fleet import Group
    from scenarios.schema_network import Connection, Topology

Ids: TypeAlias = range


class Names:
    """The nodes of a scenario: ids in file order, names `<group>-<index>`.

    Args:
        groups: As in the file.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups: dict[str, Ids] = {}
        self.group_of: list[Group] = []
        self.nodes: dict[str, int] = {}
        for group in groups:
            first = len(self.group_of)
            self.groups.setdefault(group.group, range(first, first + group.count))
            self.group_of += [group] * group.count
            for index in range(group.count):
                self.nodes.setdefault(f"{group.group}-{index}", first + index)

    def __len__(self) -> int:
        return len(self.group_of)

    def ids(self, reference: str) -> Ids:
        """Return the ids that a reference names: a group's nodes, or one node.

        Raises:
            UnknownName: Neither.
        """
        if reference in self.groups:
            return self.groups[reference]
        if reference in self.nodes:
            return range(self.nodes[reference], self.nodes[reference] + 1)
        raise UnknownName("node or group", reference, self.allowed())

    def known(self, reference: str) -> bool:
        """Tell whether a reference names anything."""
        return reference in self.groups or reference in self.nodes

    def name(self, node: int) -> str:
        """Return a node's name."""
        group = self.group_of[node].group
        return f"{group}-{node - self.groups[group][0]}"

    def allowed(self) -> list[str]:
        """Return what a message offers: the groups, and the first and last node of each."""
        ends = [f"{group}-{i}" for group, ids in self.groups.items() for i in (0, len(ids) - 1)]
        return list(dict.fromkeys([*self.groups, *ends]))


def members(topology: Topology, names: Names) -> list[int]:
    """Return the ids that a topology's shape joins, ascending; hub or root included, links not.

    None for a list of links and for a file.
    """
    if isinstance(topology, Explicit | GraphML):
        return []
    groups = topology.over or tuple(names.groups)
    ids = {node for group in groups for node in names.ids(group)}
    if isinstance(topology, Star | Tree):
        ids.add(names.ids(center(topology))[0])
    return sorted(ids)


def center(topology: Star | Tree) -> str:
    """Return the reference to a star's hub or a tree's root."""
    return topology.hub if isinstance(topology, Star) else topology.root


def connections(topology: Topology) -> Iterator[tuple[Path, Connection]]:
    """Return the links that the file lists, with their places."""
    listed = topology.links if isinstance(topology, Explicit) else ()
    for index, connection in enumerate(listed):
        yield ("topology", "links", index), connection
    for index, connection in enumerate(topology.extra):
        yield ("topology", "extra", index), connection


def pairs(connection: Connection, names: Names) -> Iterator[tuple[int, int]]:
    """Return the pairs (first, second) of nodes that a listed link joins, each pair once."""
    first, second = (names.ids(reference) for reference in connection.between)
    for a in first:
        for b in second:
            if a != b and not (a > b and a in second and b in first):
                yield a, b
