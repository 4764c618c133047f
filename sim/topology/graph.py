"""Routes: shortest paths by propagation delay over the links that are up."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from sim.config import LinkSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Route = tuple[int, ...]  # ids of directed links, in order
_Tree = dict[int, LinkSpec | None]  # node -> last link of its best path; None at the source


class Network:
    """Directed links, which of them are up, and cached shortest paths.

    The best path has the least propagation delay, then the fewest links, then the lexicographically
    lowest node ids; of parallel links with equal delay the lowest id. Paths are computed when first
    asked for (one search per source) and forgotten at every topology event.

    Args:
        links: Channels, ids and ends as in the world.

    Attributes:
        epoch: Number of topology events so far; a route is valid while it stays the same.

    Raises:
        InputError: Link ids repeat, or a delay is negative.

    Source: Dijkstra 1959 (doi 10.1007/BF01386390). Deviation: none.
    """

    def __init__(self, links: Sequence[LinkSpec]) -> None:
        self.links = {link.id: link for link in links}
        if len(self.links) != len(links):
            raise InputError("links: ids must be distinct")
        self.epoch = 0
        self._down: dict[int, bool] = {}
        self._out: dict[int, list[LinkSpec]] = {}
        for link in sorted(links, key=lambda link: (link.dst, link.id)):
            if not link.delay_s >= 0.0:
                raise InputError(f"links.{link.id}.delay_s: expected >= 0, found {link.delay_s}")
            self._out.setdefault(link.src, []).append(link)
        self._trees: dict[int, _Tree] = {}
        self._routes: dict[tuple[int, int], Route | None] = {}

    def up(self, link_id: int) -> bool:
        """Tell whether a link is up.

        Raises:
            KeyError: No such link.
        """
        return self.links[link_id].id not in self._down

    def set_link(self, link_id: int, up: bool) -> None:
        """Take a link down or up; forget all routes if that changes anything.

        Raises:
            KeyError: No such link.
        """
        if self.up(link_id) == up:
            return
        if up:
            del self._down[link_id]
        else:
            self._down[link_id] = True
        self.epoch += 1
        self._trees.clear()
        self._routes.clear()

    def route(self, src: int, dst: int) -> Route | None:
        """Return the links from one node to another: () to itself, None when there is no way."""
        key = (src, dst)
        if key in self._routes:
            return self._routes[key]
        if src not in self._trees:
            self._trees[src] = self._search(src)
        found = self._routes[key] = _links(self._trees[src], dst)
        return found

    def _search(self, src: int) -> _Tree:
        """Find the best path from one node to all that it reaches."""
        tree: _Tree = {src: None}
        best: dict[int, tuple[float, int]] = {src: (0.0, 0)}
        heap = [(0.0, 0, src)]
        done: dict[int, bool] = {}
        while heap:
            delay_s, hops, node = heappop(heap)
            if node in done:
                continue
            done[node] = True
            for link in self._out.get(node, ()):
                if link.id in self._down or link.dst in done:
                    continue
                label = (delay_s + link.delay_s, hops + 1)
                known = best.get(link.dst)
                if known is None or label < known:
                    heappush(heap, (*label, link.dst))
                elif label > known or not _before(tree, link, link.dst):
                    continue
                best[link.dst] = label
                tree[link.dst] = link
        return tree


def _links(tree: _Tree, dst: int) -> Route | None:
    """Read a path off a tree, last link first."""
    if dst not in tree:
        return None
    found: list[int] = []
    link = tree[dst]
    while link is not None:
        found.append(link.id)
        link = tree[link.src]
    return tuple(reversed(found))


def _nodes(tree: _Tree, dst: int) -> list[int]:
    """List the nodes of the path to a settled node, source first."""
    found = [dst]
    link = tree[dst]
    while link is not None:
        found.append(link.src)
        link = tree[link.src]
    return found[::-1]


def _before(tree: _Tree, link: LinkSpec, dst: int) -> bool:
    """Tell whether reaching `dst` by `link` beats its equally long path by lower node ids."""
    rival = tree[dst]
    assert rival is not None
    # parallel links come in id order, so the first of them keeps its place
    return rival.src != link.src and _nodes(tree, link.src) < _nodes(tree, rival.src)
