"""Networks beside ciw: the same requests one by one, and what a wrong replay would look like."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.parts import Parts
from sim.proofs import peer
from sim.proofs.farms import Kind, Size, farm
from sim.proofs.proof import Lab, Proof, carry_out
from sim.proofs.verdict import apart

LAB = Lab(Parts(DISPATCHERS.load, CACHES.load))
needs_ciw = pytest.mark.skipif(not peer.installed(), reason="ciw is not installed")


def marked(proof: Proof) -> object:
    return pytest.param(proof, id=proof.name, marks=() if proof.quick else pytest.mark.slow)


@needs_ciw
@pytest.mark.parametrize("proof", [marked(proof) for proof in peer.PROOFS])
def test_both_libraries_agree(proof: Proof) -> None:
    (row,) = carry_out(proof, LAB)
    assert row.verdict == "pass", row


def test_there_are_eight_networks_and_more() -> None:
    assert len(peer.PROOFS) >= 8


@needs_ciw
def test_another_station_does_not_pass() -> None:
    from sim.proofs.peer_ciw import Desk

    kinds = (Kind(0.8, peer._ONE),)
    world = farm(kinds, Size(copies=1, keep=300, skip=1), 5)
    (same,) = peer._both("x", LAB, world, Desk())
    (other,) = peer._both("x", LAB, world, Desk(servers=2))
    (fuller,) = peer._both("x", LAB, world, Desk(capacity=2))
    assert [row.verdict for row in (same, other, fuller)] == ["pass", "FAIL", "FAIL"]


@needs_ciw
def test_a_service_a_billionth_longer_shows() -> None:
    from sim.proofs.peer_ciw import Desk

    world = farm((Kind(0.8, peer._ONE),), Size(copies=1, keep=300, skip=1), 5)
    table = LAB.run(world).tables["requests"]
    longer = np.where(np.arange(len(table["id"])) == 100, table["service_s"] + 2e-9, 0.0)
    services = np.where(longer > 0.0, longer, table["service_s"])[:, None]
    answer = peer._replayed(world, table, [Desk()], service_s=services)
    gap = apart(table["t_finish_s"], answer.finish_s[:, 0])
    assert 1e-9 < gap < 1e-8


def test_without_ciw_the_rows_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(peer, "find_spec", lambda name: None if name == "ciw" else found(name))
    (row,) = carry_out(peer.PROOFS[0], LAB)
    assert row.verdict == "skipped"
    assert row.note == "skipped: ciw is not installed"
    assert not replace(row, note="").bad
