"""A short campaign of kills; the long one is a script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.kills import KINDS, SHARES, plan


def test_all_kinds_have_their_share_and_seeds_repeat() -> None:
    drawn = plan(50, 3, None)
    assert [kind for kind, _, _ in drawn] == [k for k, n in SHARES.items() for _ in range(n)]
    assert drawn == plan(50, 3, None) != plan(50, 4, None)
    assert all(0.0 <= share < 1.0 and words in KINDS[kind] for kind, words, share in drawn)


@pytest.mark.slow
@pytest.mark.ray
def test_nothing_is_lost_by_four_kills() -> None:
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(script), "--kills", "4", "--seed", "5"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "4 kills: 0 with different digests, 0 with corrupt files, 0 with processes" in done.stdout
    )
