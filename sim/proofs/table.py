"""All proofs, in the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.errors import InputError, UnknownName
from sim.proofs import (
    accounts,
    bursts,
    caching,
    costs,
    disciplines,
    faults,
    networks,
    peer,
    queues,
    reads,
    stations,
    unsteady,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.proofs.proof import Proof

PROOFS: dict[str, Proof] = {
    proof.name: proof
    for proof in (
        *queues.PROOFS,
        *disciplines.PROOFS,
        *unsteady.PROOFS,
        *networks.PROOFS,
        *faults.PROOFS,
        *caching.PROOFS,
        *reads.PROOFS,
        *costs.PROOFS,
        *accounts.PROOFS,
        *stations.PROOFS,
        *bursts.PROOFS,
        *peer.PROOFS,
    )
}


def choose(words: Sequence[str] = (), *, quick: bool = False) -> list[Proof]:
    """Return the proofs that a user means.

    Args:
        words: Names of proofs or groups; none means all.
        quick: Only those of the quick set.

    Raises:
        UnknownName: A word is neither; the message names the nearest.
        InputError: Nothing is left, since none of those named is quick.
    """
    groups = {proof.group for proof in PROOFS.values()}
    for word in words:
        if word not in PROOFS and word not in groups:
            raise UnknownName("proof", word, (*PROOFS, *sorted(groups)))
    chosen = [p for p in PROOFS.values() if not words or p.name in words or p.group in words]
    found = [proof for proof in chosen if proof.quick or not quick]
    if not found:
        raise InputError(f"--quick: none of {', '.join(words)} is in the quick set; leave it out")
    return found
