"""Names of nodes and groups, and what a reference to one means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.schema_fleet import Group


class Names:
    """The nodes of a scenario: ids in file order, names `<group>-<index>`.

    Args:
        groups: As in the file.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups: dict[str, range] = {}
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

    def ids(self, reference: str) -> range:
        """Return the ids that a reference names: a group's nodes, or one node.

        Raises:
            UnknownName: Neither.
        """
        if reference in self.groups:
            return self.groups[reference]
        if reference in self.nodes:
            return range(self.nodes[reference], self.nodes[reference] + 1)
        raise UnknownName("node or group", reference, self.allowed())

    def one(self, reference: str) -> int | None:
        """Return the only node that a reference names, None where it names several."""
        ids = self.ids(reference)
        return ids[0] if len(ids) == 1 else None

    def allowed(self) -> list[str]:
        """Return what a message offers: the groups, and the first and last node of each."""
        ends = [f"{group}-{i}" for group, ids in self.groups.items() for i in (0, len(ids) - 1)]
        return list(dict.fromkeys([*self.groups, *ends]))
