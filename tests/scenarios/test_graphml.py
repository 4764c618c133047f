"""Topologies from GraphML files."""

from __future__ import annotations

import re

import pytest

from scenarios import build_graphml, loader
from sim.errors import InputError
from tests.scenarios.test_broken import told
from tests.scenarios.test_build import HEAD, NODES, STREAM, ends, world

KEYS = """\
<key id="d0" for="node" attr.name="label" attr.type="string"/>
<key id="d1" for="edge" attr.name="delay" attr.type="string"/>
<key id="d2" for="edge" attr.name="bandwidth" attr.type="string"/>
<key id="d3" for="edge" attr.name="delay" attr.type="double"/>
"""
BODY = """\
<node id="edge-0"/><node id="n1"><data key="d0">edge-1</data></node>
<node id="n2"><data key="d0">cloud</data></node>
<edge source="edge-0" target="n1"/>
<edge source="n2" target="n1"><data key="d1">20 ms</data><data key="d2">1 Gbit/s</data></edge>
"""
TOPOLOGY = "topology: {kind: graphml, file: net.graphml, link: {delay: 1 ms, sharing: fair}}\n"
TEXT = HEAD + NODES + STREAM + TOPOLOGY


def graphml(body=BODY, default="undirected", head=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}'
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n{KEYS}'
        f'<graph edgedefault="{default}">\n{body}</graph></graphml>\n'
    )


def write(folder, text):
    (folder / "net.graphml").write_text(text, encoding="utf-8")


def test_edges_join_nodes_by_id_or_label(tmp_path):
    write(tmp_path, graphml())
    links = world(TEXT, folder=tmp_path).links
    assert ends(links) == [(0, 1), (1, 0), (1, 4), (4, 1)]
    assert [link.delay_s for link in links] == [0.001, 0.001, 0.02, 0.02]
    assert [link.bytes_per_s for link in links][2:] == [125e6, 125e6]
    assert {link.sharing for link in links} == {"fair"}


def test_faults_and_routes_know_the_edges(tmp_path):
    write(tmp_path, graphml())
    more = "dispatch: cloud\nfaults: [{kind: link-down, link: [edge-0, cloud], at: 1 s}]\n"
    assert told(TEXT + more, tmp_path) == [
        "x.yaml:6:16: streams.0.at: no links lead from 'edge-2' to any server of dispatch",
        "x.yaml:9:34: faults.0.link: no link joins 'edge-0' and 'cloud'",
    ]
    more = more.replace("edge-0, cloud", "edge-1, cloud")
    near = TEXT.replace("at: edge", "at: edge-0")
    assert told(near + more, tmp_path) == []


def test_what_the_file_says_is_part_of_the_scenario(tmp_path):
    write(tmp_path, graphml())
    before = loader.scenario_hash(loader.loads(TEXT, folder=tmp_path))
    write(tmp_path, graphml(BODY.replace("20 ms", "21 ms")))
    assert loader.scenario_hash(loader.loads(TEXT, folder=tmp_path)) != before


BAD = {
    "no xml": ("<graphml", "net.graphml: not a GraphML file: "),
    "other xml": ("<html></html>", "net.graphml: not a GraphML file: "),
    "directed": (graphml(default="directed"), "net.graphml: expected an undirected graph"),
    "entities": (
        graphml(head='<!DOCTYPE g [<!ENTITY a "b">]>\n'),
        "net.graphml: document types and entities are not accepted",
    ),
    "unknown node": (
        graphml(BODY.replace(">edge-1<", ">egde-1<")),
        "unknown node 'egde-1'; did you mean 'edge-1'? (allowed: edge-0, edge-1, edge-2, edge-3,",
    ),
    "two for one": (
        graphml(BODY.replace(">cloud<", ">edge-0<")),
        "net.graphml: two nodes stand for 'edge-0'",
    ),
    "loop": (
        graphml(BODY + '<edge source="n1" target="n1"/>'),
        "net.graphml: an edge joins 'edge-1' to itself",
    ),
    "twice": (
        graphml(BODY + '<edge source="n1" target="edge-0"/>'),
        "net.graphml: edge 'edge-0' to 'edge-1': exists already",
    ),
    "no unit": (
        graphml(BODY.replace('key="d1">20 ms', 'key="d3">20')),
        "net.graphml: edge 'edge-1' to 'cloud-0': delay: expected a time such as '20 ms', '5 min' "
        "or '1 h 30 min', found 20.0 (a number without a unit)",
    ),
    "bad bandwidth": (
        graphml(BODY.replace("1 Gbit/s", "1 Gbps")),
        "net.graphml: edge 'edge-1' to 'cloud-0': bandwidth: unknown unit 'Gbps' in '1 Gbps'; did "
        "you mean 'Gbit/s'?",
    ),
    "no bandwidth": (
        graphml(BODY.replace("1 Gbit/s", "0 Gbit/s")),
        "net.graphml: edge 'edge-1' to 'cloud-0': bandwidth: expected a bandwidth > 0, found "
        "'0 Gbit/s'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_words(text, said, tmp_path):
    write(tmp_path, text)
    (found,) = told(TEXT, tmp_path)
    assert found.startswith(f"x.yaml:7:33: topology.file: {said}")


def test_large_files_and_files_elsewhere_are_refused(tmp_path, monkeypatch):
    write(tmp_path, graphml())
    (found,) = told(TEXT.replace("net.graphml", "../net.graphml"), tmp_path)
    assert "expected a path inside the scenario's folder, found '../net.graphml'" in found
    monkeypatch.setattr(build_graphml, "MAX_BYTES", 100)
    (found,) = told(TEXT, tmp_path)
    assert "net.graphml: larger than 0 MiB" in found


def test_a_link_of_the_file_cannot_be_listed_again(tmp_path):
    write(tmp_path, graphml())
    extra = "sharing: fair}, extra: [{between: [edge-0, edge-1], delay: 1 s}]}"
    text = TEXT.replace("sharing: fair}}", extra)
    with pytest.raises(InputError, match=re.escape("'edge-0' and 'edge-1' are joined twice")):
        world(text, folder=tmp_path)
