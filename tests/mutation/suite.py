"""The kill suite: the project's own tests of the physics, run in one process within 60 s.

`PATHS` is the suite. `-m "not slow ..."` leaves out what is not for every day, `LEFT_OUT` what
takes seconds: proofs whose closed form or twin a quicker test has, too, and what starts
interpreters. Golden digests come last, so that they are credited only with what no law, twin or
unit test catches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mutation.rule import ROOT

PATHS = (
    "tests/theory",
    "tests/laws",
    "tests/oracles",
    "tests/sim",
    "tests/agents/caches",
    "tests/agents/dispatchers",
    "tests/golden",
)
LONG_PROOFS = (
    "accounts", "arrivals", "arrivals-twin", "bulk", "che", "erlang-b", "fair-twin", "impatience",
    "journey-twin", "md1", "mm1", "mmck", "sharing", "sharing-twin", "station-twin", "tries",
)  # fmt: skip
LEFT_OUT = {
    *(f"tests/theory/test_proofs.py::test_proof[{name}]" for name in LONG_PROOFS),
    "tests/theory/test_proofs.py::test_a_wrong_station_is_caught",
    "tests/theory/test_distinct.py",  # mostly the time of real models
    "tests/theory/test_verdict.py",  # statistics of verdicts, no physics
    "tests/laws/test_unseen.py",  # monitors of hosts, no physics
    "tests/agents/dispatchers/test_dispatchers.py::test_dispatchers_and_caches_load_no_torch",
    "tests/laws/test_repeat.py::test_hosts_share_nothing_with_the_simulation",
}
BUDGET_S = 60.0
MARKS = "not slow and not ray and not browser"


def prepare() -> None:
    """Set what must be set before anything heavy is imported, then import what is not ours."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import hypothesis  # noqa: F401
    import networkx  # noqa: F401
    import scipy.stats  # noqa: F401
    import simpy  # noqa: F401
    import torch

    torch.set_num_threads(1)


def profile() -> None:
    """Make Hypothesis draw the same examples always, and not look for smaller failures."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, print_blob=False,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    settings.load_profile("mutation")


class Session:
    """A pytest plugin that hands over the collected tests instead of running them.

    Args:
        work: Called with this object once the tests are collected.
    """

    def __init__(self, work: Callable[[Session], None]) -> None:
        self.work = work
        self.items: dict[str, pytest.Item] = {}
        self.failures: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what takes too long."""
        items[:] = [i for i in items if not {i.nodeid, i.nodeid.split("::")[0]} & LEFT_OUT]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Hand over, unless some test could not even be imported."""
        if not session.testsfailed:
            self.items = {item.nodeid: item for item in session.items}
            self.work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure, with its last line."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failures.append(crash.message if crash else str(report.longrepr))

    def run(self, name: str, following: str | None) -> bool:
        """Run one test; say whether it passed."""
        item, after = self.items[name], self.items[following] if following else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
        return not self.failures


def collect(work: Callable[[Session], None], paths: tuple[str, ...] = PATHS) -> int:
    """Collect tests in this process and hand them to `work`; returns pytest's exit code."""
    profile()
    os.chdir(ROOT)
    plugins = ["cacheprovider", "xdist", "pytest_cov", "benchmark", "faulthandler"]
    off = [word for name in plugins for word in ("-p", f"no:{name}")]
    here = [p for p in paths if Path(p.split("::")[0]).exists()]
    off += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Hypothesis is imported already
    args = [*off, "--capture=no", "-m", MARKS, *here]
    return int(pytest.main(args, plugins=[Session(work)]))


def kind(name: str) -> str:
    """Return which kind of test a test is: its folder below `tests`."""
    return name.split("/")[1]
