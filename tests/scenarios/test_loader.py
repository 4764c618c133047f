"""Loading: what messages look like, names, defaults in effect, hashes."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import loader
from scenarios.problems import ScenarioError
from sim.units import BANDWIDTH, RATE, TIME, exact
from tests.scenarios.words import MODEL, POISSON, QUEUE, changed


def test_all_problems_come_at_once_with_source_and_caret(tmp_path):
    text = changed(changed(QUEUE, "count: 2", "memroy: 2 GiB"), "1 min", "1 minute")
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        loader.load(tmp_path / "x.yaml")
    time_units = "(expected a time such as '20 ms', '5 min' or '1 h 30 min')"
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "x.yaml:2:11: duration: unknown unit 'minute' in '1 minute'; did you mean 'min'? "
        f"{time_units}\n"
        "    duration: 1 minute\n"
        "              ^\n"
        "x.yaml:6:19: nodes.0.memroy: unknown key; did you mean 'memory'?\n"
        "      - {group: edge, memroy: 2 GiB}\n"
        "                      ^"
    )
    assert len(pickle.loads(pickle.dumps(caught.value)).problems) == 2


def test_many_problems_are_cut():
    streams = "".join("  - {at: edge, bad: 1}\n" for _ in range(100))
    with pytest.raises(ScenarioError) as caught:
        loader.loads("name: x\nstreams:\n" + streams)
    assert len(caught.value.problems) > 200
    assert str(caught.value).endswith("more")


def test_messages_hold_no_control_characters():
    with pytest.raises(ScenarioError) as caught:
        loader.loads('name: "\\e[31mred"\n"\\e[0m\\u202e": 1\n')
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_unknown_names_offer_the_nearest(tmp_path):
    said = r"^quikstart: no such file, and unknown .* 'quikstart'; did you mean 'quickstart'\?"
    with pytest.raises(ScenarioError, match=said):
        loader.load("quikstart")
    with pytest.raises(
        ScenarioError, match=r"nope.yaml: cannot read it: No such file or directory"
    ):
        loader.load("nope.yaml")
    for name in ("\0", "a" * 5000, "a\x1b[0m"):
        assert loader.diagnose(name).errors[0].headline.isprintable()


def test_defaults_are_resolved_and_load_again():
    scenario = loader.loads(MODEL)
    text = loader.resolved(scenario)
    words = yaml.safe_load(text)
    assert words["nodes"][1]["plan"] == {"kind": "top-k", "k": 2, "gate": "learned"}
    assert words["nodes"][0]["plan"] == {"kind": "policy"}
    assert words["policies"] == [{"kind": "tanbr", "label": "tanbr", "params": {}}]
    assert words["dispatch"] == {"kind": "local", "view": "live", "params": {}}
    assert loader.loads(text) == scenario
    assert loader.resolved(loader.loads(text)) == text


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e9), st.floats(1.0, 1e12), st.floats(1e-3, 1e4))
def test_any_quantities_survive_the_round_trip(duration_s, rate_per_s, bandwidth, load):
    text = changed(QUEUE, "1 min", exact(duration_s, TIME)) + f"load: {load!r}\n"
    text = changed(text, "20 /s", exact(rate_per_s, RATE)) + f"slot: {exact(duration_s, TIME)}\n"
    link = f"{{delay: 1 ms, bandwidth: {exact(bandwidth, BANDWIDTH)}}}"
    text += f"topology: {{kind: star, hub: edge-0, link: {link}}}\ndecision_delay_slots: 0\n"
    scenario = loader.loads(text)
    assert scenario.duration_s == duration_s
    assert scenario.topology.link.bytes_per_s == bandwidth
    assert loader.loads(loader.resolved(scenario)) == scenario


def test_text_that_looks_like_a_number_survives_the_round_trip():
    scenario = loader.loads(changed(QUEUE, "name: tiny", "name: '5e3'"))
    assert loader.loads(loader.resolved(scenario)).name == "5e3"


def test_the_hash_counts_the_world_only(tmp_path):
    base = loader.scenario_hash(loader.loads(MODEL))
    assert len(base) == 8
    assert int(base, 16) >= 0
    same = MODEL + "seed: 7\npolicies: [top2]\nassert: [stable]\n"
    assert loader.scenario_hash(loader.loads(same)) == base
    spelt = MODEL.replace("1 min", "60 s") + "drain: 60 s\n# a remark\n"
    assert loader.scenario_hash(loader.loads(spelt)) == base
    assert loader.scenario_hash(loader.loads(MODEL + "drain: 61 s\n")) != base


def test_the_hash_counts_what_traces_say(tmp_path):
    text = changed(QUEUE, POISSON, "kind: trace, file: t.csv")
    hashes = []
    for rows in ("t_s\n1\n", "t_s\n2\n"):
        (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
        hashes.append(loader.scenario_hash(loader.loads(text, folder=tmp_path)))
    assert hashes[0] != hashes[1]


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.csv").write_text("t_s\n1\n", encoding="utf-8")
    (tmp_path / "in" / "t.csv").symlink_to(tmp_path / "secret.csv")
    text = changed(QUEUE, POISSON, "kind: trace, file: t.csv")
    with pytest.raises(ScenarioError, match="inside the scenario's folder"):
        loader.loads(text, folder=tmp_path / "in")


def test_a_checkpoint_stays_in_the_folder_or_is_absolute(tmp_path):
    for path in ("../model", "~/model", "a/../../model"):
        text = changed(MODEL, '"builtin:stream"', path)
        with pytest.raises(
            ScenarioError, match=r"model.checkpoint: (expected a path inside|check)"
        ):
            loader.loads(text, folder=tmp_path)


def test_it_remembers_where_it_came_from(tmp_path):
    (tmp_path / "x.yaml").write_text(QUEUE, encoding="utf-8")
    scenario = loader.load(tmp_path / "x.yaml", ["load=0.5"])
    assert loader.source_text(scenario) == QUEUE
    assert scenario.origin.folder == tmp_path
    assert scenario.origin.overrides == ("load=0.5",)
    assert pickle.loads(pickle.dumps(scenario)) == scenario
    assert pickle.loads(pickle.dumps(scenario)).origin == scenario.origin


def test_checking_loads_nothing_heavy():
    code = (
        "import sys; from scenarios import loader; s = loader.load('quickstart');"
        "loader.resolved(s); loader.scenario_hash(s);"
        "heavy = {'torch', 'ray', 'numba', 'scipy', 'plotly', 'duckdb', 'networkx', 'simpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
