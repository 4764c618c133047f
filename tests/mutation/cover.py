"""Which test runs which lines of the physics rooms, and how long each takes: measured once.

Both are kept in a file of the system's temporary folder, named by a digest of all sources, so that
a second run of the same tree starts at once.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path

from coverage import Coverage

from tests.mutation import fork, suite
from tests.mutation.rule import ROOT, definitions, modules, parse, path_of

_IMPORT = "(import)"
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
    """Run every test once and note which lines of the physics rooms it runs."""
    watch = Coverage(
        data_file=None, config_file=False, include=[str(path_of(m)) for m in modules()]
    )

    def work(session: suite.Session) -> None:
        names = list(session.items)
        for name, following in zip(names, [*names[1:], None], strict=True):
            watch.switch_context(name)
            session.run(name, following)
            session.failures.clear()

    watch.start()
    watch.switch_context(_IMPORT)
    suite.collect(work)
    watch.stop()
    tests: dict[str, Lines] = {}
    for module in modules():
        for line, names in watch.get_data().contexts_by_lineno(str(path_of(module))).items():
            function = _owner(module).get(line)
            for name in names if function else ():
                tests.setdefault(name, {}).setdefault(f"{module}:{function}", []).append(line)
    say(json.dumps({"lines": tests, "at_import": sorted(tests.pop(_IMPORT, {}))}))


@cache
def _owner(module: str) -> dict[int, str]:
    """Return the outermost function of each line that lies in the body of one."""
    found: dict[int, str] = {}
    for name, node in definitions(parse(module)):
        if "<locals>" not in name:
            found.update(dict.fromkeys(range(node.body[0].lineno, node.end_lineno + 1), name))
    return found
