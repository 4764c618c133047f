"""Which test runs which lines of the physics rooms, and how long each takes: measured once.

Both are kept in a file of the system's temporary folder, named by a digest of all sources, so that
a second run of the same tree starts at once.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.mutation import fork, suite
from tests.mutation.rule import ROOT, modules, path_of

Lines = dict[str, list[int]]  # by `module:qualname` of the outermost function


@dataclass
class Cover:
    """What was measured.

    Attributes:
        times_s: How long each test takes.
        lines: Lines that each test runs, by function.
        at_import: Functions that run while modules are imported.
        failed: Tests that fail without a mutation, with what they say.
    """

    times_s: dict[str, float] = field(default_factory=dict)
    lines: dict[str, Lines] = field(default_factory=dict)
    at_import: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    import_s: float = 0.0

    @property
    def suite_s(self) -> float:
        """Return what the suite takes on one core, without imports."""
        return sum(self.times_s.values())


def measured() -> Cover:
    """Return the cover of this tree, from the file if there is one."""
    file = Path(tempfile.gettempdir()) / f"mutation-cover-{_digest()}.json"
    if not file.exists():
        cover = Cover(**json.loads(fork.call(_times)))
        traced = json.loads(fork.call(_lines))
        cover.lines, cover.at_import = traced["lines"], traced["at_import"]
        file.write_text(json.dumps(asdict(cover)), encoding="utf-8")
    return Cover(**json.loads(file.read_text(encoding="utf-8")))


def _digest() -> str:
    hashed = blake2b(digest_size=8)
    own = Path(__file__).parent
    for room in ("sim", "agents", "tests"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.parent != own or path.stem in {"suite", "cover"}:
                hashed.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    hashed.update((ROOT / "tests" / "golden" / "digests.json").read_bytes())
    return hashed.hexdigest()


def _times(say: fork.Say) -> None:
    """Run every test once as it is."""
    cover, begun = Cover(), time.process_time()

    def work(session: suite.Session) -> None:
        cover.import_s = time.process_time() - begun
        names = list(session.items)
        for name, following in zip(names, [*names[1:], None], strict=True):
            start = time.process_time()  # other programs may share the core
            session.run(name, following)
            cover.times_s[name] = time.process_time() - start
            if session.failures:
                cover.failed[name] = session.failures[0]
            session.failures.clear()

    code = suite.collect(work)
    if not cover.times_s:
        raise RuntimeError(f"no tests were collected: pytest ended with {code}")
    say(json.dumps(asdict(cover)))


def _lines(say: fork.Say) -> None:
    """Run every test once under a tracer that follows the frames of the physics rooms."""
    tracer = _Tracer()

    def work(session: suite.Session) -> None:
        tracer.take()
        names = list(session.items)
        for name, following in zip(names, [*names[1:], None], strict=True):
            sys.settrace(tracer.called)
            session.run(name, following)
            sys.settrace(None)
            tracer.tests[name] = tracer.take()
            session.failures.clear()

    sys.settrace(tracer.called)
    suite.collect(work)
    sys.settrace(None)
    say(json.dumps({"lines": tracer.tests, "at_import": sorted(tracer.first)}))


class _Tracer:
    def __init__(self) -> None:
        self.modules = {str(path_of(name)): name for name in modules()}
        self.known: dict[CodeType, set[int] | None] = {}
        self.tests: dict[str, Lines] = {}
        self.first: Lines = {}
        self._taken = False

    def called(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code not in self.known:
            ours = code.co_filename in self.modules and code.co_flags & 0x2
            self.known[code] = set() if ours else None
        lines = self.known[code]
        if lines is None:
            return None
        add = lines.add
        add(code.co_firstlineno)

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            add(frame.f_lineno)
            return line

        return line

    def take(self) -> Lines:
        """Return what ran since the last time, by outermost function."""
        found: dict[str, set[int]] = {}
        for code, lines in self.known.items():
            if lines:
                outer = code.co_qualname.split(".<locals>")[0]
                name = f"{self.modules[code.co_filename]}:{outer}"
                found.setdefault(name, set()).update(lines)
                lines.clear()
        taken = {name: sorted(lines) for name, lines in found.items()}
        if not self._taken:
            self.first, self._taken = taken, True
        return taken
