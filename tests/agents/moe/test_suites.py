"""Suites: disjoint splits, right answers, no leaks of the task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.moe.recipe import RECIPES, Recipe
from agents.moe.suites import SUITES, Suite, load
from agents.moe.suites.digits import images
from agents.moe.suites.stream import TASKS, render
from sim.errors import InputError, UnknownName

SMALL = {
    "stream": replace(RECIPES["stream"], train_items=300, calibration_items=200, service_items=150),
    "digits": replace(RECIPES["digits"], train_items=1200),
}


@pytest.fixture(scope="module", params=sorted(SMALL))
def pair(request: pytest.FixtureRequest) -> tuple[Recipe, Suite]:
    recipe = SMALL[request.param]
    return recipe, load(recipe)


def test_every_suite_is_tested() -> None:
    assert set(SMALL) == set(SUITES) == {r.suite for r in RECIPES.values()}


def test_sizes_are_as_ordered(pair: tuple[Recipe, Suite]) -> None:
    recipe, suite = pair
    for split, items in (
        (suite.train, recipe.train_items),
        (suite.calibration, recipe.calibration_items),
        (suite.service, recipe.service_items),
    ):
        assert split.labels.shape == (8, items)
        assert split.labels.max() < suite.classes
        inputs, labels, task = split.flat()
        assert (inputs[items] == split.inputs[1, 0]).all()
        assert labels[items] == split.labels[1, 0]
        assert task[items - 1] == 0
        assert task[items] == 1


def test_experts_are_shared_out_evenly(pair: tuple[Recipe, Suite]) -> None:
    recipe, suite = pair
    assert suite.shape(recipe).experts == 8
    assert suite.shape(replace(recipe, experts=24)).experts == 24
    with pytest.raises(InputError, match=r"recipe\.experts: expected a multiple of .* 8 tasks"):
        suite.shape(replace(recipe, experts=12))


def test_equal_recipes_give_equal_data(pair: tuple[Recipe, Suite]) -> None:
    recipe, suite = pair
    again = load(recipe)
    assert (again.train.inputs == suite.train.inputs).all()
    assert (again.service.labels == suite.service.labels).all()
    other = load(replace(recipe, data_seed=recipe.data_seed + 1))
    assert (other.service.inputs != suite.service.inputs).any()


def test_the_training_seed_does_not_touch_the_data(pair: tuple[Recipe, Suite]) -> None:
    recipe, suite = pair
    other = load(replace(recipe, seed=recipe.seed + 1))
    assert (other.train.inputs == suite.train.inputs).all()


def test_splits_share_no_input(pair: tuple[Recipe, Suite]) -> None:
    _, suite = pair
    seen = [
        {row.tobytes() for row in split.flat()[0]}
        for split in (suite.train, suite.calibration, suite.service)
    ]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_stream_labels_follow_from_the_written_sentence() -> None:
    suite = load(SMALL["stream"])
    for t, name in enumerate(TASKS):
        code: dict[int, int] = {}
        for tokens, label in zip(suite.service.inputs[t], suite.service.labels[t], strict=True):
            answer = _answer(render(tokens).split(), name)
            assert code.setdefault(answer, int(label)) == label
        assert len(set(code.values())) == len(code)  # one answer word per answer


def _answer(words: list[str], question: str) -> int:
    """Read the answer off the sentence, as a person would."""
    plural = words[1] == "these"
    nouns = [int(w[4 : w.index(".")]) for w in words if w.startswith("noun")]
    links = ("at", "during", "because", "by")
    link = next(i for i, w in enumerate(words) if w in links)
    determiners = [w for w in words[:link] if w in ("this", "these")]
    past, negated = "##ed" in words, "not" in words
    good = words[-1].startswith("good") != negated
    thing = determiners[1] == "these"
    return {
        "sentiment": int(good),
        "topic": nouns[0] // 2,
        "clause": 2 * past + thing,
        "number": 2 * plural + thing,
        "answers": links.index(words[link]),
        "form": 2 * negated + plural,
        "object": nouns[1] // 2,
        "mood": 2 * good + past,
    }[question]


def test_stream_overlap_sets_the_cue() -> None:
    none = load(replace(SMALL["stream"], overlap=1.0))
    words = " ".join(render(s) for s in none.service.inputs[3])
    assert "tenant" not in words
    own = load(replace(SMALL["stream"], overlap=0.0))
    for t in range(8):
        words = " ".join(render(s) for s in own.service.inputs[t])
        assert "common" not in words
        assert f"tenant{t}" in words
        assert f"tenant{(t + 1) % 8}" not in words


def test_digits_are_the_real_images() -> None:
    pictures, labels = images()
    assert pictures.shape == (1797, 8, 8)
    assert 0.0 <= pictures.min() <= pictures.max() <= 1.0
    # Counts of each digit in the published data set.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_tenants_see_the_same_image_under_another_rule() -> None:
    suite = load(SMALL["digits"])
    light = suite.service.inputs.astype(float) / 127.5 - 0.5
    texture = light[3, :5] - light[4, :5]  # clipping aside, a constant per position
    assert np.abs(texture - texture.mean((0, 1))).max() < 2 / 127.5
    assert (suite.service.labels[3] != suite.service.labels[4]).any()


def test_asking_for_more_images_than_exist_is_refused() -> None:
    with pytest.raises(InputError, match="digits has 1797 images"):
        load(replace(SMALL["digits"], calibration_items=1000, service_items=800))


def test_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'stream'"):
        load(replace(SMALL["stream"], suite="strem"))
