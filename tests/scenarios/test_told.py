"""What routers are told: clusters, the form of feedback, and who judges audited requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.moe.cards import read_card
from scenarios import loader, paths
from scenarios.build import build_world
from sim.compute.cost import CostModel
from sim.compute.swap_time import full_swap_s
from sim.config import ClusterSpec, FeedbackSpec
from tests.scenarios.words import MODEL, QUEUE, changed

SHIPPED = 'model: {checkpoint: "builtin:stream", cost_as: switch-base-8}'


def clustered(words: str) -> str:
    return changed(MODEL, SHIPPED, SHIPPED[:-1] + f", clusters: {words}}}")


def world(text):
    scenario = loader.loads(text)
    return build_world(scenario, 1, paths.card(scenario))


def problems(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    found = loader.diagnose(tmp_path / "x.yaml", ())
    return [problem.headline.removeprefix(f"{tmp_path}/") for problem in found.problems]


def test_clusters_are_the_checkpoints_unless_said():
    assert world(MODEL).model.clusters == ClusterSpec()
    assert paths.card(loader.loads(MODEL)) == read_card("builtin:stream")


def test_tasks_to_fit_on_are_names_or_indices_and_the_card_counts_what_is_in_effect():
    text = clustered('{count: 5, fitted_on: [topic, "0"], refit: true}')
    assert world(text).model.clusters == ClusterSpec(5, (0, 1), True)
    shipped = read_card("builtin:stream")
    assert paths.card(loader.loads(text)) == replace(shipped, clusters=5)
    assert shipped.clusters == 8


def test_what_the_file_says_is_what_it_resolves_to():
    for text in (clustered("{count: 5, fitted_on: [topic]}"), clustered("{refit: true}"), MODEL):
        scenario = loader.loads(text)
        assert loader.loads(loader.resolved(scenario)) == scenario


def test_feedback_words_become_seconds_bytes_and_a_node():
    words = "feedback: {delay: 2 s, fraction: 0.1, via: cloud, up: 2 KiB, down: 64 B, form: scalar}"
    expected = FeedbackSpec(2.0, 0.1, via=2, up_bytes=2048.0, down_bytes=64.0, pooled=True)
    assert world(MODEL + words).feedback == expected
    assert world(MODEL).feedback == FeedbackSpec()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            clustered("{fitted_on: [sentimnt]}"),
            "x.yaml:3:86: model.clusters.fitted_on.0: unknown task 'sentimnt'; did you mean "
            "'sentiment'? (allowed: sentiment, topic, clause, number, answers, form, object, mood)",
        ),
        (
            clustered('{fitted_on: [topic, "0", "1"]}'),
            "x.yaml:3:98: model.clusters.fitted_on.2: task 'topic' is there already "
            "(model.clusters.fitted_on.0)",
        ),
        (
            clustered("{refit: yes}"),
            "x.yaml:3:81: model.clusters.refit: expected true or false, found 'yes'",
        ),
        (clustered("{count: 0}"), "x.yaml:3:81: model.clusters.count: expected >= 1, found 0"),
        (
            clustered("{count: 256}"),
            "x.yaml:3:81: model.clusters.count: expected <= 255, found 256",
        ),
        (
            MODEL + "feedback: {via: clod}\n",
            "x.yaml:10:17: feedback.via: unknown node or group 'clod'; did you mean 'cloud'? "
            "(allowed: edge, cloud, edge-0, edge-1, cloud-0)",
        ),
        (
            MODEL + "feedback: {via: edge}\n",
            "x.yaml:10:17: feedback.via: expected one node, found 2 in 'edge'",
        ),
        (
            MODEL + "feedback: {up: 2 KiB}\n",
            "x.yaml:10:16: feedback.up: only with 'via': users' reports take no bytes",
        ),
        (
            changed(MODEL, "hub: cloud", "hub: cloud, over: [cloud, edge]").replace(
                "nodes:\n", "nodes:\n  - {group: far, hardware: a100-40gb}\n"
            )
            + "feedback: {via: far}\n",
            "x.yaml:11:17: feedback.via: no links lead from 'edge-0' to 'far'",
        ),
        (
            QUEUE + "feedback: {via: edge-0}\n",
            "x.yaml:9:17: warning: feedback.via: nobody is judged: no router learns with "
            "`model: none`",
        ),
    ],
)
def test_nonsense_is_answered(text, said, tmp_path):
    assert problems(text, tmp_path) == [said]


def test_a_full_swap_is_one_read_of_all_experts_and_their_merge():
    built, card = world(MODEL), read_card("builtin:stream")
    found = full_swap_s(built, card)
    assert list(found) == [0, 1, 2]
    assert found[0] == found[1]
    for node in built.nodes:
        cost, chip = CostModel(built.model.cost_as, card, node.hardware), node.hardware
        read_s = chip.storage_delay_s + cost.all_experts_bytes / chip.storage_bytes_per_s
        params = cost.all_experts_bytes / cost.architecture.bytes_per_param
        memory_s = 3.0 * cost.all_experts_bytes / chip.bytes_per_s
        assert found[node.id] == pytest.approx(
            read_s + max(2.0 * params / chip.flop_per_s, memory_s)
        )
