"""What the pages of learning and of deployment say, on a small run folder."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.load import Run
from analysis.pages import compare, regret
from analysis.pages.context import Context
from analysis.pages.learning import learn
from scenarios.results import write_json
from tests.analysis.folder import Shape, write


@pytest.fixture(scope="module")
def ctx(tmp_path_factory) -> Context:
    root = tmp_path_factory.mktemp("learning") / "run"
    shape = Shape(policies=("tanbr", "top1", "uniform", "mix-oracle"), seeds=(1, 2, 3), edges=3,
                  slots=60, fault=False)  # fmt: skip
    write(root, shape)
    kept = {"tanbr": True, "top1": False, "uniform": True, "mix-oracle": True}
    found = [{"text": "p99", "policy": p, "cell": "", "found": "", "kept": k}
             for p, k in kept.items()]  # fmt: skip
    write_json(root / "asserts.json", {"asserts": found})
    return Context(Run(root))


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def block(page, text: str) -> str:
    return plain(next(b.text for b in page.blocks if text in getattr(b, "text", "")))


def test_the_page_says_what_to_deploy(ctx) -> None:
    said = block(compare.build(ctx), "What would you deploy?")
    assert "tanbr : " in said
    assert "1 of 1 target kept" in said
    order = [said.index(f" {name} ") for name in ("uniform", "top1", "mix-oracle oracle")]
    assert order == sorted(order)  # top1 breaks its target, the oracle cannot be deployed
    assert "0 of 1" in said


def test_contexts_add_up_to_the_fleet(ctx) -> None:
    lessons = learn(ctx, ctx.cases[0])
    lines = lessons.lines("task", "tanbr")
    assert sorted(lines) == ["even", "odd", "prime"]
    for seed, lesson in enumerate(lessons.of["tanbr"]):
        total = np.sum([many[seed] for many in lines.values()], axis=0)
        np.testing.assert_allclose(total, lesson.curve.realised, atol=1e-12)


def test_only_a_policy_that_looks_has_a_delay(ctx) -> None:
    lessons = learn(ctx, ctx.cases[0])
    assert lessons.drifted
    assert [lesson.looks for lesson in lessons.of["uniform"]] == [False] * 3
    np.testing.assert_array_equal(lessons.of["tanbr"][0].delays, [2.0, 3.0, 4.0])


def test_the_page_has_a_table_of_drift_with_delay_and_false_alarms(ctx) -> None:
    said = block(regret.build(ctx), "Was it noticed")
    row = said[said.index(" tanbr 9 ") :].split(" uniform ")[0]
    assert "3.00 slots" in row
    assert " 0 % " in row  # missed
    assert re.search(r"tanbr 9 3\.00 slots 0 % 5\.\d", row)  # one false alarm in about 180


def test_a_world_that_never_changes_has_no_drift_blocks(tmp_path) -> None:
    shape = Shape(policies=("tanbr",), seeds=(1,), edges=1, slots=12, drift=False)
    page = regret.build(Context(Run(write(tmp_path / "steady", shape))))
    assert "around" not in [panel.id for panel in page.panels]
    assert not any("Was it noticed" in getattr(b, "text", "") for b in page.blocks)


def test_the_slope_table_says_why_there_is_none_and_names_the_comparator(ctx) -> None:
    said = block(regret.build(ctx), "How fast does it still grow")
    assert "served slots per node; at least 200 are needed" in said
    assert "best fixed merge, in hindsight 4.00 points" in said


def test_the_captions_name_the_avoidable_part_of_the_context_error(ctx) -> None:
    panel = next(p for p in regret.build(ctx).panels if p.id == "context")
    assert re.search(r"tanbr [\d.]+ %, where a perfect estimate would have [\d.]+ %", panel.caption)


def test_a_context_met_once_weighs_once(ctx) -> None:
    lessons = learn(ctx, ctx.cases[0])
    means, counts = lessons.mean("task", "tanbr"), lessons.counts("task", "tanbr")
    nodes = 3
    for part, name in enumerate(["even", "odd", "prime"]):
        ends = [line[-1] for line in lessons.lines("task", "tanbr")[name]]
        assert means[part] * counts[part] == pytest.approx(sum(ends) * nodes)  # the curves' ends


def test_parts_are_listed_by_what_they_cost(ctx) -> None:
    lines = learn(ctx, ctx.cases[0]).lines("node", "tanbr")
    ends = [np.mean([line[-1] for line in many]) for many in lines.values()]
    assert ends == sorted(ends, reverse=True)
