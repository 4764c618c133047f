"""What broke in a run: from the log of faults to intervals with names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BEGAN = {"node-restart": "node-crash", "link-up": "link-down"}
_END = "-end"
# what takes a node's memory or copies: marked where memory is drawn
OF_MEMORY = ("node-crash", "node-restart", "expert-lost", "expert-corrupt", "storage-slow")


class Span(NamedTuple):
    """One interval in which a fault held at a node, or at a link in one way or both."""

    kind: str
    place: str
    from_s: float
    until_s: float


def is_link(kind: str) -> bool:
    """Tell whether a fault's target is a link and no node."""
    return kind.startswith("link-")


def spans(events: Iterable[tuple[float, str, int]], meta: Mapping[str, Any]) -> list[Span]:
    """Return the intervals, by time; overlapping ones of one target are one.

    Args:
        events: Rows of the table `faults`: (time in s, what, node or link), by time.
        meta: The run's facts: names of nodes, ends of links, the end of the run, at which what
            still holds ends.
    """
    places = _places(meta)
    depth: dict[tuple[str, str, int], int] = {}
    since: dict[tuple[str, str, int], float] = {}
    found: dict[Span, None] = {}
    for t_s, word, target in events:
        kind = _BEGAN.get(word, word.removesuffix(_END))
        key = (kind, places.get((is_link(kind), target), "?"), target)
        if word == kind:
            depth[key] = depth.get(key, 0) + 1
            since.setdefault(key, t_s)
            continue
        depth[key] = depth.get(key, 1) - 1
        if depth[key] <= 0 and key in since:
            found[Span(*key[:2], since.pop(key), t_s)] = None
    for key, from_s in since.items():
        found[Span(*key[:2], from_s, float(meta["end_s"]))] = None
    return sorted(found, key=lambda span: (span.from_s, span.kind, span.place))


def _places(meta: Mapping[str, Any]) -> dict[tuple[bool, int], str]:
    """Return (is a link, id) -> name; both ways of a link have one."""
    names = {int(node["id"]): str(node["name"]) for node in meta["nodes"]}
    found = {(False, node): name for node, name in names.items()}
    for link in meta["links"]:
        ends = sorted((int(link["src"]), int(link["dst"])))
        found[True, int(link["id"])] = " – ".join(names[end] for end in ends)  # noqa: RUF001
    return found


def told(found: Sequence[Span], most: int = 4) -> list[str]:
    """Say in words what broke: each kind with its places, and how often."""
    kinds: dict[str, list[str]] = {}
    for span in found:
        kinds.setdefault(span.kind, []).append(span.place)
    said = []
    for kind, places in sorted(kinds.items()):
        different = list(dict.fromkeys(places))
        more = f" and {len(different) - most} more" if len(different) > most else ""
        times = f", {len(places)} times in all" if len(places) > len(different) else ""
        said.append(f"{kind}: {', '.join(different[:most])}{more}{times}")
    return said
