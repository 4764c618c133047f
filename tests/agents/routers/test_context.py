from __future__ import annotations

import numpy as np
import pytest

from agents.routers.context import (
    ContextParams,
    MixEstimate,
    chi_square_quantile,
    g_test,
    switch_rows,
)
from sim.errors import ShapeError

PLAIN = {"detector": False, "prior_weight": 0.0}


def estimate(prior, nodes=1, **params):
    return MixEstimate(nodes, np.array(prior, float), ContextParams(**params))


def tell(mix, *counts, active=None):
    rows = np.array(counts, float)
    return mix.observe(rows, np.ones(len(rows), bool) if active is None else np.array(active))


def test_between_equally_full_slots_the_estimate_is_a_moving_average():
    mix = estimate([1, 1], alpha=0.25, **PLAIN)
    for a in (8, 1, 5):
        tell(mix, [a, 10 - a])
    weight = 0.75 ** np.array([2, 1, 0])
    share = weight @ [0.8, 0.1, 0.5] / weight.sum()
    np.testing.assert_allclose(mix.mix[0], [share, 1 - share])


def test_a_full_slot_weighs_more_than_an_empty_one():
    mix = estimate([1, 1], alpha=0.5, **PLAIN)
    tell(mix, [90, 10])
    tell(mix, [0, 1])
    np.testing.assert_allclose(mix.mix[0], [45 / 51, 6 / 51])


def test_the_prior_weighs_as_much_as_it_is_told():
    mix = estimate([3, 1], alpha=1.0, prior_weight=4.0)
    np.testing.assert_allclose(mix.mix, [[0.75, 0.25]])
    tell(mix, [2, 2])
    np.testing.assert_allclose(mix.mix, [[5 / 8, 3 / 8]])


def test_silent_and_inactive_nodes_keep_theirs():
    mix = estimate([1, 3], nodes=3, alpha=0.5, **PLAIN)
    tell(mix, [4, 0], [0, 0], [4, 0], active=[True, True, False])
    np.testing.assert_allclose(mix.mix, [[1, 0], [0.25, 0.75], [0.25, 0.75]])
    mix.restart(0)
    np.testing.assert_allclose(mix.mix[0], [0.25, 0.75])


def test_a_switch_replaces_the_estimate():
    mix = estimate([1, 1, 1], nodes=2, prior_weight=0.0)
    for _ in range(20):
        assert not tell(mix, [10, 3, 1], [10, 3, 1]).any()
    assert tell(mix, [10, 3, 1], [1, 3, 10]).tolist() == [False, True]
    np.testing.assert_allclose(mix.mix[1], [1 / 14, 3 / 14, 10 / 14])


def test_without_the_detector_a_switch_is_averaged_in():
    mix = estimate([1, 1], alpha=0.5, **PLAIN)
    for counts in ([20, 0], [0, 20]):
        assert not tell(mix, counts).any()
    np.testing.assert_allclose(mix.mix[0], [1 / 3, 2 / 3])


@pytest.mark.parametrize(("requests", "clusters"), [(14, 4), (60, 8)])
def test_false_switches_are_about_as_rare_as_asked(requests, clusters):
    rng, nodes = np.random.default_rng(0), 200
    shares = rng.dirichlet(np.full(clusters, 0.6), nodes)
    mix = estimate(np.ones(clusters), nodes=nodes, detector_p=0.01)
    false = sum(
        tell(mix, *[rng.multinomial(requests, share) for share in shares]).mean() for _ in range(50)
    )
    assert false / 50 <= 0.02


def test_a_switch_halves_the_error_of_a_moving_average():
    """Total variation to the mix of the slot to come, 14 requests per slot, a switch in 50."""
    rng, nodes = np.random.default_rng(1), 60
    ours, plain = estimate(np.ones(4), nodes=nodes), estimate(np.ones(4), nodes, alpha=0.5, **PLAIN)
    truth, errors = rng.dirichlet(np.full(4, 0.6), nodes), []
    for _ in range(100):
        fresh = rng.dirichlet(np.full(4, 0.6), nodes)
        truth = np.where(rng.random((nodes, 1)) < 0.02, fresh, truth)
        errors.append([0.5 * np.abs(m.mix - truth).sum(1).mean() for m in (ours, plain)])
        counts = [rng.multinomial(14, share) for share in truth]
        for m in (ours, plain):
            tell(m, *counts)
    found = np.array(errors)[20:].mean(axis=0)
    assert found[0] <= 0.7 * found[1]


def test_renewed_clusters_go_back_to_their_prior_share():
    mix = estimate([1, 1, 2], nodes=2, **PLAIN)
    tell(mix, [8, 2, 0], [8, 2, 0])
    mix.renew(np.array([[True, False, True], [True, True, True]]))
    np.testing.assert_allclose(mix.mix[0], [0.25, 0.25, 0.5])
    np.testing.assert_allclose(mix.mix[1], [0.25, 0.25, 0.5])
    tell(mix, [0, 0, 0], [0, 0, 0])
    mix.renew(np.array([[False, False, True], [False, False, False]]))
    np.testing.assert_allclose(mix.mix[0], [0.25, 0.25, 0.5])


def test_renewing_leaves_the_odds_of_the_others():
    mix = estimate([1, 1, 2], **PLAIN)
    tell(mix, [8, 2, 30])
    mix.renew(np.array([[False, False, True]]))
    np.testing.assert_allclose(mix.mix[0], [0.4, 0.1, 0.5])


def test_negligible_clusters_are_not_scored():
    mix = estimate([0.9995, 0.0005])
    assert mix.relevant()[0].tolist() == [0.9995, 0.0]


def test_a_prior_of_nothing_is_uniform():
    np.testing.assert_allclose(estimate(np.zeros(4)).mix, 0.25)


def test_wrong_shape():
    with pytest.raises(ShapeError, match=r"context counts: expected \(1, 2\)"):
        tell(estimate(np.ones(2)), np.ones(3))


def test_a_snapshot_goes_on_where_it_was():
    one, two = estimate(np.ones(3)), estimate(np.ones(3))
    tell(one, [5, 2, 1])
    two.restore(one.snapshot())
    for m in (one, two):
        tell(m, [1, 2, 3])
    np.testing.assert_array_equal(one.mix, two.mix)


# --- the test behind the detector ---


def test_the_statistic_equals_the_textbook_loop():
    rng = np.random.default_rng(2)
    one, two = rng.integers(0, 9, (30, 5)).astype(float), rng.integers(0, 40, (30, 5)).astype(float)
    found, freedom = g_test(one, two)
    for row in range(30):
        table, want = np.array([one[row], two[row]]), 0.0
        for i in range(2):
            for v in range(5):
                expected = table[i].sum() * table[:, v].sum() / table.sum()
                if table[i, v] > 0:
                    want += 2 * table[i, v] * np.log(table[i, v] / expected)
        assert found[row] == pytest.approx(want, abs=1e-9)
        assert freedom[row] == (table.sum(axis=0) > 0).sum() - 1


def test_no_history_no_evidence():
    statistic, _ = g_test(np.array([[3.0, 9.0]]), np.zeros((1, 2)))
    assert statistic.tolist() == [0.0]


@pytest.mark.parametrize(
    ("freedom", "probability", "table"),
    [(1, 0.999, 10.828), (3, 0.999, 16.266), (7, 0.999, 24.322), (3, 0.95, 7.815)],
)
def test_quantiles_equal_the_printed_table(freedom, probability, table):
    found = chi_square_quantile(np.array([float(freedom)]), probability)[0]
    assert found == pytest.approx(table, rel=0.05)


def test_switches_become_rows_of_the_drift_table():
    rows = switch_rows(7, [10, 11], np.array([False, True]))
    assert rows == [{"table": "drift", "slot": 7, "node": 11, "kind": "detected"}]


def test_the_work_grows_with_the_clusters():
    few, many = estimate(np.ones(2)), estimate(np.ones(8))
    assert many.work().flop == 4 * few.work().flop
    assert many.state_bytes == 4 * few.state_bytes
    assert estimate(np.ones(2), detector=False).work().flop < few.work().flop
