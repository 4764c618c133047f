"""The proofs that `moedge prove` ships, one test each; those outside the quick set run nightly."""

from __future__ import annotations

import pytest

from agents.caches import CACHES
from agents.dispatchers import DISPATCHERS
from sim.errors import InputError, LawViolation
from sim.parts import Parts
from sim.proofs.proof import Lab, Proof, carry_out
from sim.proofs.table import PROOFS, choose
from sim.proofs.verdict import BIAS, POWER, judge

LAB = Lab(Parts(DISPATCHERS.load, CACHES.load))


def marked(proof: Proof) -> object:
    return pytest.param(proof, id=proof.name, marks=() if proof.quick else pytest.mark.slow)


# tests/oracles/test_ciw.py runs the peer's
OURS = [proof for proof in PROOFS.values() if proof.group != "peer"]


@pytest.mark.parametrize("proof", [marked(proof) for proof in OURS])
def test_proof(proof: Proof) -> None:
    rows = carry_out(proof, LAB)
    assert rows
    for row in rows:
        assert row.verdict == "pass", row
        if row.caught is not None:
            assert row.caught, row
            assert row.power >= POWER, row


def test_a_law_that_breaks_is_a_failed_check() -> None:
    def checks(lab: Lab) -> list[object]:
        raise LawViolation("L1: request 3 both returned and dropped")

    (row,) = carry_out(Proof("x", "queues", "conservation", checks), LAB)  # type: ignore[arg-type]
    assert (row.verdict, row.proof, row.group) == ("FAIL", "x", "queues")
    assert row.note == "L1: request 3 both returned and dropped"


def test_words_choose_proofs_and_groups() -> None:
    assert [p.name for p in choose(["md1", "mm1"])] == ["mm1", "md1"]
    assert {p.group for p in choose(["queues"])} == {"queues"}
    assert all(p.quick for p in choose(quick=True))
    assert choose() == list(PROOFS.values())
    with pytest.raises(InputError, match="unknown proof 'mm11'; did you mean 'mm1'"):
        choose(["mm11"])


def test_a_wrong_station_is_caught() -> None:
    # a server 1 % too slow makes waits at load 0.5 longer by 3 %
    from sim.config import ServiceSpec
    from sim.proofs.farms import Kind, Size, observe

    kinds = (Kind(0.5, ServiceSpec("exponential", 1.01)),)
    seen = observe(LAB.run, kinds, Size(copies=256, keep=1500), 3)
    result = judge("x", 1.0, seen.wait_s().mean(axis=1), seen.controls())
    assert result.verdict == "FAIL"
    assert result.measured > 1.0 + BIAS
