"""What the first page says in words, on summaries whose answer is known."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import pytest

from analysis.load import Run
from analysis.pages import overview
from analysis.pages.context import Context
from tests.analysis.folder import Shape, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POLICIES = ("tanbr", "top1", "top2", "mix-oracle")
SEEDS = (1, 2, 3)
Given = dict[str, dict[str, tuple[float, ...]]]  # policy -> metric -> value by seed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(policies=POLICIES, seeds=SEEDS, edges=2, slots=12)
    return write(tmp_path_factory.mktemp("overview") / "run", shape)


def page(root: Path, given: Given) -> str:
    """Return the page's text when summaries say what is given and nothing else."""
    for path in root.glob("trials/*/meta.json"):
        meta = json.loads(path.read_text())
        found = given[meta["policy"]]
        status_path = path.with_name("status.json")
        status = json.loads(status_path.read_text())
        mine = {key: values[SEEDS.index(meta["seed"])] for key, values in found.items()}
        status["summary"] = {"requests": 10, "stable": True, "accuracy": 0.9, **mine}
        status_path.write_text(json.dumps(status))
    made = overview.build(Context(Run(root)))
    return re.sub(r"<[^>]*>", "", " ".join(getattr(b, "text", "") for b in made.blocks))


def useful(**means: float) -> Given:
    steps = (0.0, 0.3, 0.1)
    return {
        name.replace("_", "-"): {"useful_per_s": tuple(mean + step for step in steps)}
        for name, mean in means.items()
    }


def add(given: Given, key: str, values: Mapping[str, tuple[float, ...]]) -> Given:
    return {p: {**found, key: values.get(p, (0.0,) * len(SEEDS))} for p, found in given.items()}


def test_the_lead_names_the_first_the_next_and_the_price(root) -> None:
    given = useful(tanbr=50.0, top1=54.0, top2=55.0, mix_oracle=60.0)
    slow = {"tanbr": (0.1, 0.11, 0.1), "top2": (0.3, 0.31, 0.3), "top1": (0.2, 0.2, 0.2)}
    said = page(root, add(given, "latency_mean_s", slow))
    assert "top2 gives the most useful answers: 55.1 ± 0.4 /s, +10.0 %" in said
    assert "against the baseline tanbr; next comes top1 with 54.1 ± 0.4 /s." in said
    assert "It pays with mean latency +19" in said


def test_a_second_that_was_not_shown_to_be_worse_is_named_as_such(root) -> None:
    given = useful(tanbr=50.0, top1=54.9, top2=55.0, mix_oracle=60.0)
    given["top1"]["useful_per_s"] = (55.5, 54.6, 54.9)  # one seed up, two down
    assert "; top1 with 55.0 ± 1.1 /s was not shown to be worse." in page(root, given)


def test_a_first_that_pays_nothing_has_no_second_sentence(root) -> None:
    assert "It pays" not in page(root, useful(tanbr=50.0, top1=54.0, top2=55.0, mix_oracle=60.0))


def test_what_is_zero_under_every_policy_has_no_tile_and_no_column(root) -> None:
    given = add(useful(tanbr=5.0, top1=4.0, top2=3.0, mix_oracle=6.0), "drop_share", {})
    said = page(root, given)
    assert "Zero under every policy: dropped." in said
    assert "Dropped" not in said
    given["top2"]["drop_share"] = (0.0, 0.0, 0.1)
    assert "Dropped" in page(root, given)


def test_a_tile_does_not_crown_one_of_many_equals(root) -> None:
    given = add(useful(tanbr=5.0, top1=4.0, top2=3.0, mix_oracle=6.0), "drop_share", {})
    given["top2"]["drop_share"] = (0.1, 0.1, 0.1)
    assert "tanbr and 2 more" in page(root, given)


def test_an_assumption_of_some_policies_says_whose_it_is(root) -> None:
    for path in root.glob("trials/*/meta.json"):
        meta = json.loads(path.read_text())
        meta["notes"] = ["all alike"] + ["k = 2 assumed"] * meta["policy"].startswith("top")
        path.write_text(json.dumps(meta))
    said = page(root, useful(tanbr=5.0, top1=4.0, top2=3.0, mix_oracle=6.0))
    assert "top1, top2: k = 2 assumed" in said
    assert "top1, top2: all alike" not in said
    assert "all alike" in said


def test_a_policy_without_any_number_is_last_and_says_so(root) -> None:
    given = add(useful(tanbr=5.0, top1=4.0, top2=3.0, mix_oracle=6.0), "energy_j", {})
    given["top1"] = {key: (math.nan,) * len(SEEDS) for key in given["top1"]}
    given["top2"]["energy_j"] = (1.0, 2.0, 3.0)
    said = page(root, given)
    ranking = said[said.index("Policies, best first") :]
    names = ("mix-oracle", "tanbr", "top2", "top1")
    found = [re.search(rf"{name}(baseline|oracle)?3 seeds", ranking) for name in names]
    places = [match.start() for match in found if match]
    assert len(places) == len(names)
    assert places == sorted(places)
    assert "nan" not in said.lower()
