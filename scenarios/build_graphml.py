"""Reads a topology from a GraphML file beside the scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios import paths
from scenarios.schema_network import GraphML
from sim.errors import InputError, UnknownName
from sim.units import BANDWIDTH, TIME, parse

if TYPE_CHECKING:
    from pathlib import Path

    from scenarios.schema import Scenario
    from scenarios.schema_names import Names
    from scenarios.schema_network import Link

MAX_BYTES = 16 << 20
_ATTRIBUTES = {"delay": ("delay_s", TIME), "bandwidth": ("bytes_per_s", BANDWIDTH)}


def edges(scenario: Scenario, names: Names) -> list[tuple[int, int, Link]]:
    """Return the links of a scenario's topology file: (lower id, higher id, link), sorted by ids.

    Raises:
        InputError: No such file, too large, not GraphML, directed, a node that the scenario lacks,
            two nodes joined twice or one with itself, an attribute that is no quantity.
    """
    topology = scenario.topology
    assert isinstance(topology, GraphML)
    path = paths.inside(scenario.origin.folder, topology.file)
    graph = _read(path, topology.file)
    ids = {key: _node(key, facts, names) for key, facts in graph.nodes(data=True)}
    by_node = {node: key for key, node in ids.items()}
    if len(by_node) < len(ids):
        twice = next(key for key, node in ids.items() if by_node[node] != key)
        raise InputError(f"{topology.file}: two nodes stand for {names.name(ids[twice])!r}")
    found: dict[tuple[int, int], Link] = {}
    for a, b, facts in graph.edges(data=True):
        ends = (min(ids[a], ids[b]), max(ids[a], ids[b]))
        where = f"{topology.file}: edge {names.name(ends[0])!r} to {names.name(ends[1])!r}"
        if ends[0] == ends[1]:
            raise InputError(f"{topology.file}: an edge joins {names.name(ends[0])!r} to itself")
        if ends in found:
            raise InputError(f"{where}: exists already")
        found[ends] = _link(topology.link, facts, where)
    return [(*ends, found[ends]) for ends in sorted(found)]


def _read(path: Path, file: str) -> Any:
    if not path.is_file():
        raise InputError(f"no such file: {file!r}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{file}: larger than {MAX_BYTES >> 20} MiB")
    content = path.read_bytes()
    if b"<!" in content.replace(b"<!--", b"").replace(b"<![CDATA[", b""):
        # entities that grow without limit are declared there
        raise InputError(f"{file}: document types and entities are not accepted")
    graph = _parse(content, file)
    if graph.is_directed():
        raise InputError(f'{file}: expected an undirected graph (edgedefault="undirected")')
    return graph


def _parse(content: bytes, file: str) -> Any:
    from xml.etree.ElementTree import ParseError

    import networkx as nx

    try:
        return nx.parse_graphml(content.decode("utf-8"))
    except (ParseError, nx.NetworkXException, ValueError, KeyError, TypeError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{file}: not a GraphML file: {said:.120}") from None


def _node(key: object, facts: dict[str, Any], names: Names) -> int:
    """Return the node that an id or else a label names."""
    for word in (str(key), str(facts.get("label", ""))):
        if names.known(word) and len(names.ids(word)) == 1:
            return names.ids(word)[0]
    said = str(facts.get("label", key))
    raise UnknownName("node", said[:64], list(names.nodes)[:50])


def _link(default: Link, facts: dict[str, Any], where: str) -> Link:
    own = {}
    for key, (name, dimension) in _ATTRIBUTES.items():
        if key in facts:
            try:
                own[name] = parse(facts[key], dimension)
                if dimension is BANDWIDTH and own[name] == 0.0:
                    raise InputError(f"expected a bandwidth > 0, found {facts[key]!r}")
            except InputError as error:
                raise InputError(f"{where}: {key}: {error}") from None
    return default.model_copy(update=own)
