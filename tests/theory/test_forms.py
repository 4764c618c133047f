"""Every closed form against another formula: special cases, other methods, textbook numbers."""

from __future__ import annotations

from math import exp, factorial

import numpy as np
import pytest

from sim.config import ServiceSpec
from sim.errors import InputError
from sim.proofs.cost import distinct_mean
from sim.proofs.forms_bulk import bulk
from sim.proofs.forms_general import (
    Class,
    availability,
    cobham,
    cobham_servers,
    md1_wait,
    mean_tries,
    mg1_wait,
    ps_stay,
    second_moment,
    setup_wait,
    tandem_stay,
)
from sim.proofs.forms_markov import (
    birth_death,
    erlang_a,
    erlang_b,
    erlang_c,
    mmc_tail,
    mmc_wait,
    mmck,
    sharing_stay,
)
from sim.proofs.forms_modulated import generator, mean_rate, modulated_stay, stationary


def close(value: float, rel: float = 1e-10) -> object:
    return pytest.approx(value, rel=rel)


# --- Markovian stations


def test_birth_and_death_balance() -> None:
    chance = birth_death(lambda n: 3.0 / (n + 1), lambda n: 2.0 * n, 9)
    assert chance.sum() == close(1.0)
    for n in range(9):
        assert chance[n] * 3.0 / (n + 1) == close(chance[n + 1] * 2.0 * (n + 1))


@pytest.mark.parametrize(("offered", "servers"), [(0.5, 1), (3.0, 4), (11.0, 12)])
def test_erlang_formulas_are_the_sums_of_the_textbook(offered: float, servers: int) -> None:
    terms = [offered**k / factorial(k) for k in range(servers + 1)]
    assert erlang_b(offered, servers) == close(terms[-1] / sum(terms))
    queued = terms[-1] * servers / (servers - offered)
    assert erlang_c(offered, servers) == close(queued / (sum(terms[:-1]) + queued))


def test_erlang_b_and_c_of_tables() -> None:
    assert erlang_b(20.0, 30) == pytest.approx(0.0085, abs=5e-5)
    assert erlang_c(8.0, 10) == pytest.approx(0.409, abs=5e-4)


def test_mmc_is_mm1_with_one_server_and_a_cut_birth_death_chain_with_three() -> None:
    assert mmc_wait(0.5, 1.0, 1) == close(1.0)
    assert mmc_tail(0.5, 1.0, 1, 2.0) == close(0.5 * exp(-1.0))
    assert mmc_tail(2.0, 1.0, 3, 0.0) == close(erlang_c(2.0, 3))
    chance = birth_death(lambda _: 2.0, lambda n: min(n, 3.0), 200)
    assert mmc_wait(2.0, 1.0, 3) == close(float(chance @ np.maximum(np.arange(201) - 3, 0)) / 2.0)


def test_a_finite_station_lies_between_loss_and_waiting() -> None:
    loss = mmck(3.0, 1.0, 4, 4)
    assert loss.loss == close(erlang_b(3.0, 4))
    assert loss.wait_s == 0.0
    assert mmck(3.0, 1.0, 4, 400).wait_s == close(mmc_wait(3.0, 1.0, 4))
    rho, places = 0.8, 5
    assert mmck(rho, 1.0, 1, places).loss == close((1 - rho) * rho**places / (1 - rho**6))


def test_impatience_lies_between_loss_and_waiting() -> None:
    assert erlang_a(2.0, 1.0, 3, 1e9).queued_s == close(mmc_wait(2.0, 1.0, 3), 1e-6)
    assert erlang_a(2.0, 1.0, 3, 1e-9).leave == close(erlang_b(2.0, 3), 1e-6)
    # patience like service: every request has a server of its own, M/M/infinity
    alike = erlang_a(4.0, 1.0, 3, 1.0)
    queue = sum(exp(-4.0) * 4.0**n / factorial(n) * (n - 3) for n in range(4, 60))
    assert alike.queued_s == close(queue / 4.0)
    assert alike.leave == close(queue / 4.0)  # Little and balance, both with patience 1 s


def test_sharing_is_mmc_and_with_small_shares_infinite_servers() -> None:
    assert sharing_stay(2.0, 1.0, 3) == close(mmc_wait(2.0, 1.0, 3) + 1.0)
    assert sharing_stay(0.6, 1.0, 1) == close(ps_stay(0.6, 1.0))
    assert sharing_stay(0.1, 1.0, 8, 0.5) == close(2.0, 1e-9)


def test_an_unstable_station_has_no_form() -> None:
    with pytest.raises(InputError, match="offered: expected below 3"):
        erlang_c(3.0, 3)
    with pytest.raises(InputError, match=r"expected below 1, found 1\.5"):
        mg1_wait(1.5, 1.0, 2.0)
    with pytest.raises(InputError, match="full batches"):
        bulk(3.0, 2.0, 0.0, 4)
    with pytest.raises(InputError, match="on average"):
        modulated_stay((2.0, 1.0), (1.0, 1.0), generator((1.0, 1.0)))


# --- general service


@pytest.mark.parametrize(
    ("kind", "cv", "square"),
    [("exponential", 9.0, 2.0), ("deterministic", 9.0, 1.0), ("erlang", 0.5, 1.25)],
)
def test_second_moments(kind: str, cv: float, square: float) -> None:
    assert second_moment(ServiceSpec(kind, 2.0, cv)) == close(4.0 * square)  # type: ignore[arg-type]


def test_pollaczek_and_khinchine_know_mm1_and_md1() -> None:
    assert mg1_wait(0.6, 1.0, 2.0) == close(mmc_wait(0.6, 1.0, 1))
    assert mg1_wait(0.3, 2.0, 4.0) == close(md1_wait(0.3, 2.0))


def test_set_up_knows_its_limits() -> None:
    plain = mg1_wait(0.5, 1.0, 2.0)
    assert setup_wait(0.5, 1.0, 2.0, 0.0) == close(plain)
    assert setup_wait(0.5, 1.0, 2.0, 3.0, keep_s=1e6) == close(plain)
    # M/M/1 with exponential set-up: wait + D; for a fixed D the extra is below D and above D / 2
    assert plain + 1.5 < setup_wait(0.5, 1.0, 2.0, 3.0) < plain + 3.0
    # light traffic: everyone finds the server cold
    assert setup_wait(1e-9, 1.0, 2.0, 3.0) == close(3.0, 1e-6)


def test_priorities_conserve_the_mean_wait() -> None:
    # equal laws: the rate-weighted mean of waits is that of first come first served (Kleinrock)
    one, two, three = (Class(r, 1.0, 2.0) for r in (0.2, 0.3, 0.3))
    waits = cobham([one, two, three])
    mixed = sum(w * r for w, r in zip(waits, (0.2, 0.3, 0.3), strict=True)) / 0.8
    assert mixed == close(mg1_wait(0.8, 1.0, 2.0))
    assert waits == sorted(waits)
    assert cobham([Class(0.8, 1.0, 2.0)])[0] == close(mg1_wait(0.8, 1.0, 2.0))


def test_priorities_with_many_servers_conserve_it_too() -> None:
    waits = cobham_servers((0.5, 0.7, 1.2), 1.0, 3)
    mixed = sum(w * r for w, r in zip(waits, (0.5, 0.7, 1.2), strict=True)) / 2.4
    assert mixed == close(mmc_wait(2.4, 1.0, 3))
    assert cobham_servers((0.2, 0.3), 1.0, 1) == close_all(
        cobham([Class(0.2, 1.0, 2.0), Class(0.3, 1.0, 2.0)])
    )


def close_all(values: list[float]) -> object:
    return pytest.approx(values, rel=1e-10)


def test_a_tandem_adds_up() -> None:
    assert tandem_stay(0.5, 1.0, [1.0], 1.0) == close(4.0)
    assert tandem_stay(0.5, 0.0, [0.5, 0.5], 1.0) == close(1.0 / 0.75)
    assert tandem_stay(0.8, 0.0, [0.75, 0.25], 1.0) == close(0.75 / 0.4 + 0.25 / 0.8)


def test_tries_and_availability() -> None:
    assert mean_tries(0.0, 5) == 1.0
    assert mean_tries(0.3, 1) == 1.0
    assert mean_tries(0.5, 3) == close(1 * 0.5 + 2 * 0.25 + 3 * 0.25)
    assert availability(9.0, 1.0) == 0.9


def test_distinct_experts_of_one_and_many_tokens() -> None:
    assert distinct_mean(8, 2, 1) == close(2.0)
    assert distinct_mean(8, 2, 2) == close(3.5)
    assert distinct_mean(8, 2, 10_000) == close(8.0)
    assert distinct_mean(8, 8, 1) == 8.0


# --- bulk service


def test_batches_of_one_are_md1() -> None:
    assert bulk(0.6, 1.0, 9.0, 1).stay_s == close(md1_wait(0.6, 1.0) + 1.0, 1e-9)


def test_a_linear_cost_without_overhead_loses_to_single_service_and_light_traffic_is_alone() -> (
    None
):
    # n requests last n: sharing a batch only delays the first of it
    assert bulk(0.6, 1.0, 1.0, 8).stay_s > md1_wait(0.6, 1.0) + 1.0
    light = bulk(1e-6, 1.0, 0.2, 8)
    assert light.stay_s == close(1.0, 1e-5)
    assert light.size == close(1.0, 1e-5)


def test_the_embedded_chain_agrees_with_a_walk_through_many_batches() -> None:
    rate, first, each, most = 2.0, 0.8, 0.2, 4
    rng = np.random.default_rng(3)
    left, area, length, served = 0, 0.0, 0.0, 0
    came = {n: rng.poisson(rate * (first + (n - 1) * each), 200_000).tolist() for n in range(1, 5)}
    for i in range(200_000):
        size = min(max(left, 1), most)
        busy = first + (size - 1) * each
        area += max(left, 1) * busy + rate * busy**2 / 2
        length += busy + (1.0 / rate if left == 0 else 0.0)
        served += size
        left = max(left, 1) - size + came[size][i]
    found = bulk(rate, first, each, most)
    assert found.size == close(served / 200_000, 0.005)
    assert found.stay_s == close(area / length / rate, 0.01)


# --- random environments


def cut_chain_stay(
    rates: tuple[float, ...], services: tuple[float, ...], environment: np.ndarray, top: int
) -> float:
    """Solve the whole generator, cut at `top` requests, by brute force."""
    m = len(rates)
    whole = np.zeros(((top + 1) * m, (top + 1) * m))
    for n in range(top + 1):
        here = slice(n * m, (n + 1) * m)
        whole[here, here] += environment
        if n < top:
            whole[here, (n + 1) * m : (n + 2) * m] += np.diag(rates)
        if n:
            whole[here, (n - 1) * m : n * m] += np.diag(services)
    np.fill_diagonal(whole, 0.0)
    np.fill_diagonal(whole, -whole.sum(axis=1))
    chance = stationary(whole).reshape(top + 1, m).sum(axis=1)
    return float(chance @ np.arange(top + 1)) / mean_rate(rates, environment)


def test_one_state_is_mm1() -> None:
    alone = np.zeros((1, 1))
    assert modulated_stay((0.5,), (1.0,), alone) == close(2.0)
    same = generator((1.0, 3.0))
    assert modulated_stay((0.5, 0.5), (1.0, 1.0), same) == close(2.0)


@pytest.mark.parametrize(
    ("rates", "services", "stays", "jumps"),
    [
        ((0.2, 0.9), (1.0, 1.0), (5.0, 2.0), ()),
        ((0.4, 0.4), (1.0, 0.0), (6.0, 1.0), ()),
        (
            (0.1, 0.6, 0.9),
            (1.0, 1.2, 1.0),
            (3.0, 2.0, 1.0),
            ((0.0, 0.5, 0.5), (1.0, 0.0, 0.0), (0.3, 0.7, 0.0)),
        ),
    ],
)
def test_the_matrix_geometric_solution_is_that_of_the_cut_chain(
    rates: tuple[float, ...],
    services: tuple[float, ...],
    stays: tuple[float, ...],
    jumps: tuple[tuple[float, ...], ...],
) -> None:
    environment = generator(stays, jumps)
    brute = cut_chain_stay(rates, services, environment, 250)
    assert modulated_stay(rates, services, environment) == close(brute, 1e-8)


def test_fast_switching_is_poisson_and_slow_switching_a_mixture() -> None:
    fast = modulated_stay((0.2, 0.8), (1.0, 1.0), generator((1e-5, 1e-5)))
    assert fast == close(2.0, 1e-4)
    slow = modulated_stay((0.2, 0.6), (1.0, 1.0), generator((1e5, 1e5)))
    number = 0.5 * 0.2 / 0.8 + 0.5 * 0.6 / 0.4
    assert slow == close(number / 0.4, 1e-3)


def test_breakdowns_are_whites_and_christies() -> None:
    # M/M/1 with breakdowns at rate a whenever, repairs at rate b, service resumed:
    # L = (lambda / (mu - rho')) form of White and Christie 1958
    lam, mu, a, b = 0.4, 1.0, 0.2, 0.7
    spare = mu * b / (a + b) - lam
    number = lam * (1.0 + mu * a / (a + b) ** 2) / spare
    assert modulated_stay((lam, lam), (mu, 0.0), generator((1 / a, 1 / b))) == close(number / lam)
