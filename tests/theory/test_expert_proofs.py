"""The proofs about experts that `moedge prove` ships."""

from __future__ import annotations

import pytest

from agents.caches import CACHES
from agents.caches.lru import LeastRecentlyUsed
from agents.dispatchers import DISPATCHERS
from sim.parts import Parts
from sim.proofs.experts import PROOFS
from sim.proofs.proof import Lab, Proof, carry_out
from sim.proofs.verdict import POWER

LAB = Lab(Parts(DISPATCHERS.load, CACHES.load))


@pytest.mark.parametrize("proof", [pytest.param(p, id=p.name) for p in PROOFS])
def test_proof(proof: Proof) -> None:
    rows = carry_out(proof, LAB)
    assert rows
    for row in rows:
        assert row.verdict == "pass", row
        if row.caught is not None:
            assert row.caught, row
            assert row.power >= POWER, row


class Youngest(LeastRecentlyUsed):
    """A wrong LRU: gives up the most recently used."""

    def victim(self, pinned):
        return next((key for key in reversed(self._order) if not pinned.get(key, 0)), None)


def test_a_wrong_cache_fails_the_proofs_of_caches() -> None:
    wrong = Lab(Parts(DISPATCHERS.load, lambda name: Youngest))
    verdicts = {p.name: [row.verdict for row in carry_out(p, wrong)] for p in PROOFS[2:]}
    assert set(verdicts["cache-replays"]) == set(verdicts["belady"]) == {"FAIL"}
    assert "FAIL" in verdicts["che"]
