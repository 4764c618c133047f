"""Training: deterministic, cached, and it learns what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from agents.moe.cards import checkpoint_dir
from agents.moe.checkpoint import weights_digest
from agents.moe.model import PAD, Group
from agents.moe.train import _Training, train

if TYPE_CHECKING:
    from pathlib import Path

    from agents.moe.recipe import Recipe
    from agents.moe.train import Trained


def test_the_same_recipe_gives_the_same_weights(recipe: Recipe, trained: Trained) -> None:
    torch.rand(3)  # the global generator has no say
    again = train(recipe, cache=False)
    assert not again.cached
    assert weights_digest(again.model) == weights_digest(trained.model)
    other = train(replace(recipe, seed=recipe.seed + 1), cache=False)
    assert weights_digest(other.model) != weights_digest(trained.model)


def test_a_repeated_call_is_free(recipe: Recipe, trained: Trained) -> None:
    calls: list[str] = []
    again = train(recipe, lambda stage, done, total: calls.append(stage))
    assert again.cached
    assert not calls
    assert weights_digest(again.model) == weights_digest(trained.model)


def test_a_damaged_cache_entry_is_trained_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOEDGE_CACHE", str(tmp_path))
    good = train(recipe)
    file = checkpoint_dir(recipe) / "weights.bin"
    file.write_bytes(file.read_bytes()[:-40])
    again = train(recipe)
    assert not again.cached
    assert weights_digest(again.model) == weights_digest(good.model)
    assert train(recipe).cached


def test_progress_ends_every_stage(recipe: Recipe) -> None:
    calls: list[tuple[str, int, int]] = []
    train(recipe, lambda *call: calls.append(call), cache=False)
    totals = {"dense": 6, "branch": 14, "router": 4}
    assert [c for c in calls if c[1] == c[2]] == [(s, n, n) for s, n in totals.items()]


def test_experts_are_tied_until_they_branch(recipe: Recipe) -> None:
    from agents.moe.suites import load

    training = _Training(recipe, load(recipe), lambda *call: None)
    training._dense()
    moe = training.model.layers()[0].moe
    torch.testing.assert_close(moe.w1, moe.w1[:1].expand_as(moe.w1), atol=1e-6, rtol=0.0)
    training._branch()
    assert float((moe.w1[0] - moe.w1[1]).detach().abs().max()) > 1e-3


def test_provenance_counts_real_tokens_only(recipe: Recipe, trained: Trained) -> None:
    training = _Training(recipe, trained.suite, lambda *call: None)
    inputs, _ = training._all_parts()
    answer = training.model(inputs, Group())
    expected = 0.0
    for router in (r.detach() for r in answer.router):
        losses = [
            -float(router[i, t].log_softmax(0)[i // recipe.batch])
            for i in range(len(inputs))
            for t in range(inputs.shape[1])
            if int(inputs[i, t]) != PAD
        ]
        expected += sum(losses) / len(losses)
    assert float(training._provenance(inputs, answer).detach()) == pytest.approx(expected, rel=1e-4)


def test_each_expert_of_a_task_has_its_own_part_of_its_items(recipe: Recipe) -> None:
    from agents.moe.suites import load

    many = replace(recipe, experts=24)
    training = _Training(many, load(many), lambda *call: None)
    ids = torch.arange(8 * many.train_items).view(8, many.train_items)  # stand for the items
    training.inputs, training.labels = ids, ids
    drawn, labels = training._all_parts()
    assert torch.equal(drawn, labels)
    for e, group in enumerate(drawn.view(24, many.batch)):
        assert set((group // many.train_items).tolist()) == {e % 8}
        assert set((group % many.train_items % 3).tolist()) == {e // 8}


def test_a_slot_spreads_each_task_over_its_experts(recipe: Recipe) -> None:
    from agents.moe.suites import load

    many = replace(recipe, experts=16)
    training = _Training(many, load(many), lambda *call: None)
    spread = training._spread(500)
    assert spread.shape == (2, 500)
    torch.testing.assert_close(spread.sum(0), torch.ones(500))
    assert float(spread[0].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(spread[0].var()) == pytest.approx(1 / 12, rel=0.2)  # even on two experts
    assert bool(training._slot_loss().isfinite())
    moe = training.model.layers()[0].moe
    training._slot_loss().backward()  # type: ignore[no-untyped-call]
    touched = moe.w1.grad.abs().amax((1, 2)).view(2, 8) > 0.0
    assert torch.equal(touched[0], touched[1])
    assert 1 <= int(touched[0].sum()) <= 3


def test_divergence_is_an_error_not_a_model(recipe: Recipe) -> None:
    from agents.moe.suites import load

    training = _Training(recipe, load(recipe), lambda *call: None)
    with torch.no_grad():
        training.model.head.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="training diverged at step 0"):
        training.run()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "limit_s"), [("stream", 60.0), ("stream32", 180.0)])
def test_training_a_shipped_recipe_stays_within_minutes_and_repeats_its_weights(
    name: str, limit_s: float
) -> None:
    from agents.moe.cards import read_card
    from agents.moe.recipe import RECIPES

    fresh = train(RECIPES[name], cache=False)
    assert fresh.cpu_s < limit_s
    # The digest is exact on the machine that trained it; other CPU types round differently, so
    # the accuracy is what must repeat everywhere.
    if weights_digest(fresh.model) != read_card(f"builtin:{name}").digest:
        from agents.moe.check import check

        assert check(fresh.model, fresh.suite).useful
