"""Routes: shortest paths by propagation delay over the links that are up."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from sim.config import LinkSpec
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        self._searches: dict[int, _Search] = {}
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
        self._searches.clear()
        self._routes.clear()

    def route(self, src: int, dst: int) -> Route | None:
        """Return the links from one node to another: () to itself, None when there is no way."""
        key = (src, dst)
        if key in self._routes:
            return self._routes[key]
        if src not in self._searches:
            self._searches[src] = _Search(src, self._out, self._down)
        found = self._routes[key] = _links(self._searches[src].reach(dst), dst)
        return found


class _Search:
    """The best paths from one node, searched no further than was asked.

    (In a star of a thousand nodes a leaf that only answers the hub never looks beyond it.)

    Args:
        src: Where paths start.
        out: Links by source node.
        down: Links that are down; the search is forgotten when that changes.
    """

    def __init__(
        self, src: int, out: Mapping[int, Sequence[LinkSpec]], down: Mapping[int, bool]
    ) -> None:
        self._out, self._down = out, down
        self._tree: _Tree = {src: None}
        self._best: dict[int, tuple[float, int]] = {src: (0.0, 0)}
        self._heap = [(0.0, 0, src)]
        self._done: dict[int, bool] = {}
        self._fresh: tuple[float, int, int] | None = None  # settled, but not looked beyond

    def reach(self, goal: int) -> _Tree:
        """Return a tree in which the path to a node is settled, if there is one."""
        while goal not in self._done and (self._fresh or self._heap):
            if self._fresh is not None:
                self._expand(*self._fresh)
                self._fresh = None
            elif (label := heappop(self._heap))[2] not in self._done:
                self._done[label[2]] = True
                self._fresh = label
        return self._tree

    def _expand(self, delay_s: float, hops: int, node: int) -> None:
        for link in self._out.get(node, ()):
            if link.id in self._down or link.dst in self._done:
                continue
            label = (delay_s + link.delay_s, hops + 1)
            known = self._best.get(link.dst)
            if known is None or label < known:
                heappush(self._heap, (*label, link.dst))
            elif label > known or not _before(self._tree, link, link.dst):
                continue
            self._best[link.dst] = label
            self._tree[link.dst] = link


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
