"""Plans by task, by blend and with limited experts, on the shipped checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sim.errors import InputError
from sim.plans import Blend, ByTask, Single, TopK

if TYPE_CHECKING:
    from agents.moe.runtime import Runtime

OWN = tuple(range(8))  # every task has its expert


def test_by_task_answers_as_the_expert_of_the_task(stream: Runtime) -> None:
    plan = ByTask((3, 3, 2, 3, 4, 5, 6, 7), "task")
    profile = stream.profile(plan)
    for task in range(8):
        mine = stream.task_of == task
        alone = stream.profile(Single(plan.experts[task]))
        assert (profile.correct[mine] == alone.correct[mine]).all()
        assert (profile.confidence[mine] == alone.confidence[mine]).all()
        assert (profile.experts[mine] == 1 << plan.experts[task]).all()
    assert profile.experts.shape == (4096, 2)


def test_by_task_reads_clusters_unless_told_otherwise(stream: Runtime) -> None:
    expert = stream.cluster_to_task.argmax(1)
    inferred = stream.profile(ByTask(tuple(expert.tolist())))
    assert (inferred.experts[:, 0] == 1 << expert[stream.cluster_of]).all()
    tagged = stream.profile(ByTask(OWN, "task"))
    assert tagged.correct.mean() > inferred.correct.mean() > 0.8


def test_one_expert_for_every_task_is_that_expert(stream: Runtime) -> None:
    profile = stream.profile(ByTask((5,) * 8))
    assert (profile.correct == stream.profile(Single(5)).correct).all()


def test_blends_merge_k_experts_in_every_layer(stream: Runtime) -> None:
    few, all_of_them = stream.profile(Blend(2)), stream.profile(Blend(8))
    assert {int(mask).bit_count() for mask in few.experts.ravel()} == {2}
    assert {int(mask).bit_count() for mask in all_of_them.experts.ravel()} == {8}
    assert few.correct.mean() > 0.5


def test_a_batch_with_room_for_everybody_answers_as_the_profile(stream: Runtime) -> None:
    inputs = np.arange(0, 4096, 171)
    roomy = stream.score_batch(TopK(1, capacity=8.0), inputs)
    assert (roomy == stream.profile(TopK(1)).correct[inputs]).all()


def test_what_a_limited_batch_answers_depends_on_who_is_in_it(stream: Runtime) -> None:
    plan = TopK(1, capacity=1.0)
    one_task = np.flatnonzero(stream.task_of == 2)[:64].reshape(8, 8)
    crowded = np.concatenate([stream.score_batch(plan, batch) for batch in one_task])
    free = stream.profile(plan).correct[one_task.ravel()]
    assert (stream.profile(plan).experts == stream.profile(TopK(1)).experts).all()
    assert crowded.mean() < free.mean() - 0.1
    # the first request of a batch finds every seat free
    assert (crowded[::8] == free[::8]).mean() > (crowded == free).mean()
    assert (stream.score_batch(plan, one_task[0]) == crowded[:8]).all()


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (ByTask((0,) * 7), "expected one of 8 experts for each of 8 clusters"),
        (ByTask((8,) * 8, "task"), "expected one of 8 experts for each of 8 tasks"),
        (Blend(9), "blend: expected 1 <= k <= 8 experts, found 9"),
        (TopK(1, "hash", 1.0), "gate 'hash'"),
    ],
)
def test_plans_that_do_not_fit_are_refused(
    stream: Runtime, plan: ByTask | Blend | TopK, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        stream.profile(plan)


def test_only_limited_plans_are_scored_by_batch(stream: Runtime) -> None:
    with pytest.raises(InputError, match="answers every request by itself; see `profile`"):
        stream.score_batch(TopK(1), np.arange(4))
