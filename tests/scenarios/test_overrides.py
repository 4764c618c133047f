"""`--set`: paths, labels, axes, and the words for what has no place."""

from __future__ import annotations

import re

import pytest

from scenarios import loader
from scenarios.overrides import split_axes
from scenarios.problems import ScenarioError
from sim.errors import InputError

TEXT = """\
name: tiny
duration: 1 min
model: none
service: {kind: exponential, mean: 10 ms}
nodes:
  - {group: edge, count: 2}
  - {group: hub, servers: 0}
streams:
  - {at: edge, name: people, arrivals: {kind: poisson, rate: 20 /s}}
"""


@pytest.mark.parametrize(
    ("setting", "get", "value"),
    [
        ("nodes.0.count=100", lambda s: s.nodes[0].count, 100),
        ("nodes.edge.count=7", lambda s: s.nodes[0].count, 7),
        ("streams.people.arrivals.rate=5 /min", lambda s: s.streams[0].arrivals.rate_per_s, 1 / 12),
        ("feedback.delay=2 s", lambda s: s.feedback.delay_s, 2.0),
        ("feedback={delay: 3 s, fraction: 0.5}", lambda s: s.feedback.fraction, 0.5),
        ("load=0.5", lambda s: s.load, 0.5),
        ("name='5'", lambda s: s.name, "5"),
        ("nodes.edge.batch.max_wait=5 ms", lambda s: s.nodes[0].batch.max_wait_s, 0.005),
    ],
)
def test_sets_a_value(setting, get, value):
    assert get(loader.loads(TEXT, [setting])) == value


def test_later_settings_see_earlier_ones():
    scenario = loader.loads(
        TEXT, ["nodes.edge.group=core", "nodes.core.count=3", "streams.0.at=core"]
    )
    assert scenario.nodes[0].count == 3


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("nodes.0.count=abc", "nodes.0.count: expected a whole number, found 'abc'"),
        ("nodes.edge.cuont=3", "nodes.0.cuont: unknown key; did you mean 'count'?"),
        ("duration=5", "duration: expected a time such as"),
        (
            "nodes.egde.count=3",
            "nodes has no 'egde'; did you mean 'edge'? (allowed: edge, hub, 0 to 1)",
        ),
        ("nodes.7.count=3", "nodes has 2 items, there is no 7"),
        ("nodes.-1.count=3", "nodes has no '-1' (allowed: edge, hub, 0 to 1)"),
        ("name.first=3", "name is 'tiny', which has no 'first'"),
        ("load", "expected key=value, such as nodes.edge.count=16"),
        ("load=", "expected key=value, such as nodes.edge.count=16"),
        ("=3", "expected key=value, such as nodes.edge.count=16"),
        ("load={", "not valid YAML"),
        ("load=!!python/name:os.system x", "tag 'tag:yaml.org,2002:python/name:os.system' is not"),
    ],
)
def test_names_the_setting_that_is_wrong(setting, said):
    with pytest.raises(ScenarioError, match=re.escape(f"--set {setting}: {said}")):
        loader.loads(TEXT, [setting])


def test_all_settings_without_a_place_come_at_once():
    with pytest.raises(ScenarioError) as caught:
        loader.loads(TEXT, ["nodes.7.count=3", "name.x=1"])
    assert len(caught.value.problems) == 2


def test_problems_of_the_file_come_before_those_of_settings():
    with pytest.raises(ScenarioError) as caught:
        loader.loads(TEXT + "seed: x\n", ["load=-1"])
    assert [p.where for p in caught.value.problems] == ["<text>:10:7", "--set load=-1"]


def test_axes_are_settings_with_several_values():
    fixed, axes = split_axes(
        ["load=1,2", "nodes.edge.count=4", "a=[1,2]", "b='x,y',z", "c={d: 1, e: 2},{d: 3}"]
    )
    assert fixed == ["nodes.edge.count=4", "a=[1,2]"]
    assert axes == {
        "load": ["1", "2"],
        "b": ["'x,y'", "z"],
        "c": ["{d: 1, e: 2}", "{d: 3}"],
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["load=1,1"], "--set load=1,1: expected different values between the commas"),
        (["load=1,"], "--set load=1,: expected different values between the commas"),
        (["a=1", "a=2"], "--set a=2: 'a' is set twice"),
        (["a"], "--set a: expected key=value, such as nodes.edge.count=16"),
    ],
)
def test_axes_that_are_none(settings, said):
    with pytest.raises(InputError, match=re.escape(said)):
        split_axes(settings)
