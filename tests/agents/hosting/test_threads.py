from __future__ import annotations

import os
import subprocess
import sys

import pytest

_CODE = """
import hashlib, sys
if {early}:
    from agents.hosting.threads import one_thread
import numpy as np
if {early}:
    one_thread()
rng = np.random.default_rng(0)
a = rng.standard_normal((256, 256))
s = a @ a.T + 256 * np.eye(256)
parts = np.linalg.inv(s), np.linalg.cholesky(s), np.linalg.solve(s, a[0])
print(hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest())
"""


def digest(threads: str, early: bool) -> str:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", _CODE.format(early=early)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU has one thread anyway")
def test_linear_algebra_is_the_same_however_many_threads_the_process_began_with() -> None:
    assert digest("2", early=True) == digest("1", early=False)


def test_torch_runs_on_one_thread() -> None:
    torch = pytest.importorskip("torch")
    from agents.hosting.threads import one_thread

    torch.set_num_threads(2)
    one_thread()
    assert torch.get_num_threads() == 1
