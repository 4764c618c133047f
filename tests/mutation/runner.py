"""Runs mutants against the kill suite, each in a forked child, and says what became of them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from tests.mutation import fork, install, suite
from tests.mutation.cover import Cover
from tests.mutation.rule import parse

KILLED, TIMEOUT, SURVIVED, UNCOVERED, SAME = "killed", "timeout", "survived", "uncovered", "same"
MARGIN_S = 30.0
LAST = ("golden",)  # kinds of tests that are asked last


@dataclass(frozen=True, slots=True)
class Patch:
    """A changed module to be caught.

    Attributes:
        id: Its name.
        module: The module.
        make: Returns the changed tree and the change in words.
        functions: Outermost functions that change, `module:qualname`.
        lines: Lines that change.
    """

    id: str
    module: str
    make: Callable[[], tuple[ast.Module, str]]
    functions: tuple[str, ...]
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a patch."""

    id: str
    status: str
    change: str
    by: str = ""  # the test that caught it
    said: str = ""  # and what it said
    ran: int = 0  # tests that could have caught it


def order(patch: Patch, cover: Cover, first: Sequence[str] = ()) -> list[str]:
    """Return the tests that run a line that the patch changes: no other can notice.

    Args:
        patch: The patch.
        cover: Which test runs what.
        first: Kinds of tests to ask before all others.
    """
    ranked, lines = [], set(patch.lines)
    for name, time_s in cover.times_s.items():
        mine = cover.lines.get(name, {})
        if name not in cover.failed and any(lines & set(mine.get(f, ())) for f in patch.functions):
            kind = suite.kind(name)
            late = 1 if kind in LAST else -1 if kind in first else 0
            ranked.append((late, time_s, name))
    return [name for *_, name in sorted(ranked)]


def _unchanged(patch: Patch, tree: ast.Module) -> bool:
    before = install.compiled(patch.module, parse(patch.module))
    return install.same(before, install.compiled(patch.module, tree))


def _verdict(session: suite.Session, names: Sequence[str], cover: Cover) -> tuple[str, str]:
    """Run tests until one fails; return its name and what it said."""
    for name, following in zip(names, [*names[1:], None], strict=True):
        fork.alarm(3.0 + 10.0 * cover.times_s[name])
        passed = session.run(name, following)
        fork.alarm(0.0)
        if not passed:
            return name, session.failures[0].splitlines()[0][:200]
    return "", ""


class Runner:
    """Judges patches.

    Args:
        cover: Which test runs what.
        jobs: Children at a time.
        first: Kinds of tests to ask before all others.
    """

    def __init__(self, cover: Cover, jobs: int, first: Sequence[str] = ()) -> None:
        self.cover, self.jobs, self.first = cover, jobs, first
        self.limit_s = 10.0 * suite.BUDGET_S + MARGIN_S

    def judge(self, patches: Sequence[Patch]) -> Iterator[Outcome]:
        """Judge all patches; yield each outcome as it is known."""
        at_import = set(self.cover.at_import)
        early = [p for p in patches if at_import & set(p.functions)]
        for patch, said in fork.each(early, self._imported, self.jobs, self.limit_s):
            yield _outcome(patch, said)
        late = [p for p in patches if p not in early]
        for line in fork.stream(lambda say: self._pool(late, say)) if late else ():
            yield Outcome(**json.loads(line))

    def _pool(self, patches: Sequence[Patch], say: fork.Say) -> None:
        """Collect the tests once; children that start from there take one patch each."""

        def work(session: suite.Session) -> None:
            def one(patch: Patch, to_pool: fork.Say) -> None:
                to_pool(self._swapped(session, patch))

            for patch, said in fork.each(patches, one, self.jobs, self.limit_s):
                say(json.dumps(asdict(_outcome(patch, said))) + "\n")

        suite.collect(work)

    def _swapped(self, session: suite.Session, patch: Patch) -> str:
        tree, change = patch.make()
        if _unchanged(patch, tree):
            return json.dumps({"status": SAME, "change": change})
        install.swap(patch.module, tree)
        return self._ask(session, patch, change, order(patch, self.cover, self.first))

    def _imported(self, patch: Patch, say: fork.Say) -> None:
        tree, change = patch.make()
        if _unchanged(patch, tree):
            say(json.dumps({"status": SAME, "change": change}))
            return
        install.hook(patch.module, tree)
        said: list[str] = []

        def work(session: suite.Session) -> None:
            names = order(patch, self.cover, self.first)
            rest = sorted(set(self.cover.times_s) - set(names), key=self._near(patch))
            said.append(self._ask(session, patch, change, [*names, *rest]))

        suite.collect(work)
        if not said:  # the tests cannot even be collected
            said.append(json.dumps({"status": KILLED, "change": change, "by": "import"}))
        say(said[0])

    def _near(self, patch: Patch) -> Callable[[str], tuple[bool, bool, float]]:
        room = patch.module.split(".")[1]
        return lambda name: (
            suite.kind(name) in LAST, f"sim/{room}" not in name, self.cover.times_s[name]
        )  # fmt: skip

    def _ask(self, session: suite.Session, patch: Patch, change: str, names: list[str]) -> str:
        if not names:
            return json.dumps({"status": UNCOVERED, "change": change})
        by, said = _verdict(session, names, self.cover)
        status = KILLED if by else SURVIVED
        return json.dumps(
            {"status": status, "change": change, "by": by, "said": said, "ran": len(names)}
        )


def _outcome(patch: Patch, said: str) -> Outcome:
    if said == fork.TIMEOUT:
        return Outcome(patch.id, TIMEOUT, patch.make()[1])
    if said.startswith(fork.DIED):
        return Outcome(patch.id, KILLED, patch.make()[1], "import", said[:200])
    return Outcome(patch.id, **json.loads(said))
