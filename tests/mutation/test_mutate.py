"""The mutation script: its operators, its rule, and that what it injects is really injected."""

from __future__ import annotations

import ast
import signal
import sys
from types import ModuleType

import pytest

from sim.proofs.table import PROOFS
from tests.mutation import fork, install, report, rule, runner, semantic, suite
from tests.mutation.operators import OPERATORS, sites
from tests.mutation.order import matters

TOY = '''
def toy(a, b, wait_s: int = 3):
    """Say 1 < 2."""
    if a < b and a != 0:
        raise ValueError(f"{a} < {b + 1}", True)
    total = -a + b * 2
    total_s = wait_s
    for i in range(b):
        total += max(a, b)
        a.calls.append(f(i, total_s))
        a.calls.popleft()
    a.area += a.last * total
    a.last = total
    return a[1:b] if b == 3 else [x | 1 for x in a if x]
'''


def changes(text: str, operator: str) -> list[str]:
    """Return what an operator makes of a function, each change in words."""
    found = []
    for index, site in enumerate(sites(_function(text))):
        if site.operator == operator:
            again = sites(_function(text))[index]
            before = ast.unparse(again.node)
            found.append(f"{before} -> {ast.unparse(ast.fix_missing_locations(again.edit()))}")
    return found


def _function(text: str) -> ast.FunctionDef:
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("compare-edge", ["a < b -> a <= b"]),
        ("compare-equal", ["a != 0 -> a == 0", "b == 3 -> b != 3"]),
        ("plus-minus", ["-a + b * 2 -> -a - b * 2", "total += max(a, b) -> total -= max(a, b)",
                        "a.area += a.last * total -> a.area -= a.last * total"]),
        ("times-over", ["b * 2 -> b / 2", "a.last * total -> a.last / total"]),
        ("bits", ["x | 1 -> x & 1"]),
        ("sign", ["-a -> a"]),
        ("and-or", ["a < b and a != 0 -> a < b or a != 0"]),
        ("off-by-one", ["0 -> 1", "2 -> 3", "range(b) -> range(b - 1)", "3 -> 4", "1:b -> 1:b + 1",
                        "1 -> 2", "1 -> 2"]),
        ("negate-branch", ["a < b and a != 0 -> not (a < b and a != 0)", "b == 3 -> not b == 3"]),
        ("drop-branch", ["a < b and a != 0 -> False",
                         "a[1:b] if b == 3 else [x | 1 for x in a if x] -> "
                         "[x | 1 for x in a if x]", "x -> True"]),
        ("drop-else", ["a[1:b] if b == 3 else [x | 1 for x in a if x] -> a[1:b]"]),
        ("swap-arguments", ["f(i, total_s) -> f(total_s, i)"]),
        ("min-max", ["max(a, b) -> min(a, b)"]),
        ("ends", ["a.calls.popleft() -> a.calls.pop()"]),
        ("wrong-unit", ["wait_s -> wait_s * 1000.0"]),
        ("drop-statement", ["total += max(a, b) -> pass", "a.calls.append(f(i, total_s)) -> pass",
                            "a.calls.popleft() -> pass", "a.area += a.last * total -> pass",
                            "a.last = total -> pass"]),
        ("flip-flag", []),
    ],
)  # fmt: skip
def test_an_operator_finds_its_sites_and_leaves_texts_alone(
    operator: str, expected: list[str]
) -> None:
    assert changes(TOY, operator) == expected


def test_flags_are_flipped() -> None:
    assert changes("def f(): return g(up=True)", "flip-flag") == ["True -> False"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("m.area += m.n * t", "m.n = 3", True),
        ("queue.clear()", "m.n = 3", True),
        ("go(1)", "stop(2)", True),
        ("wait = due - t", "t = now", True),
        ("t = now", "wait = due - t", False),  # would read an unbound name
        ("a.x = 1", "a.y = 2", False),
        ("x = 1", "y = 2", False),
        ("m.area += 1", "m.area += 2", False),
        ("x = len(a)", "a.y = 2", False),
    ],
)
def test_only_orders_that_can_matter_are_swapped(first: str, second: str, expected: bool) -> None:
    one, two = ast.parse(first).body[0], ast.parse(second).body[0]
    assert matters(one, two) == expected


def test_no_module_of_the_simulator_is_forgotten() -> None:
    files = {p.stem for p in (rule.ROOT / "sim").glob("*.py")}
    assert files == {*rule.MODULES, *rule.NOT_PHYSICS}
    rooms = {p.name for p in (rule.ROOT / "sim").iterdir() if (p / "__init__.py").exists()}
    assert rooms == {*rule.ROOMS, *rule.TWINS}


def test_the_rule_covers_every_function_and_every_operator() -> None:
    chosen = rule.sample()
    functions = {m.function for m in chosen}
    ids = set()
    for module in rule.modules():
        for function, mutants in rule.mutants(module):
            assert (function in functions) == bool(mutants)
            assert not ids & {m.id for m in mutants}, function
            ids |= {m.id for m in mutants}
    assert {m.operator for m in chosen} == set(OPERATORS)
    assert len(chosen) < len(functions) + len(OPERATORS)


def test_the_rule_spreads_over_operators_and_knows_its_seed() -> None:
    mutants = dict(rule.mutants("sim.network.links"))
    put = next(mine for function, mine in mutants.items() if function.qualname == "Links.put")
    chosen = rule.choose(put, 4, 0)
    assert len({m.operator for m in chosen}) == 4
    assert chosen[:2] == rule.choose(tuple(reversed(put)), 2, 0)
    assert any(rule.choose(put, 1, seed) != chosen[:1] for seed in range(1, 9))
    assert rule.find(chosen[0].id) == chosen[0]
    with pytest.raises(ValueError, match="no mutant"):
        rule.find("sim.network.links:Links.put:sign:99")


CODE = """
class Base:
    def twice(self, x):
        return 2 * x

class Thing(Base):
    @property
    def size(self):
        return 3
    @staticmethod
    def half(x):
        def inner():
            return x / 2
        return inner()
    def twice(self, x):
        return super().twice(x) + 1
"""


@pytest.fixture
def thing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("sim.thing")
    exec(compile(CODE, "thing.py", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, "sim.thing", module)
    return module


def test_swapped_code_is_what_living_objects_run(thing: ModuleType) -> None:
    living = thing.Thing()
    for old, new in (("return 3", "return 4"), ("x / 2", "x * 2")):
        assert len(install.swap("sim.thing", ast.parse(CODE.replace(old, new)))) in {1, 2}
        assert install.swap("sim.thing", ast.parse(CODE.replace(old, new))) == []
    assert living.half(3) == 6
    assert living.size == 3  # the second swap brought the first text back


def test_a_function_may_stop_reading_its_closure(thing: ModuleType) -> None:
    text = CODE.replace("super().twice(x) + 1", "7")
    assert install.swap("sim.thing", ast.parse(text)) == ["Thing.twice"]
    assert thing.Thing().twice(1) == 7


def test_a_mutant_without_a_difference_is_told() -> None:
    code = [compile(text, "x", "exec") for text in ("a = 1 + 1", "a =   2", "a = 3", "a = 2.0")]
    assert install.same(code[0], code[1])
    assert not install.same(code[1], code[2])
    assert not install.same(code[1], code[3])


def _in_child(module: str, old: str, new: str, script: str) -> str:
    """Swap a module's text in a child and return what a script prints as `said` there."""
    __import__(module)
    text = rule.text_of(module)
    assert text.count(old) == 1

    def work(say: fork.Say) -> None:
        install.swap(module, ast.parse(text.replace(old, new)))
        names: dict[str, object] = {}
        exec(script, names)
        say(str(names["said"]))

    return fork.call(work, 60.0)


def test_a_semantic_mistake_is_caught_in_a_child_and_only_there() -> None:
    script = (
        "from tests.sim.worlds import run, queue\n"
        "try:\n"
        "    said = run(queue(5.0, 0.1, 20.0)).meta['laws']['returned']\n"
        "except Exception as problem:\n"
        "    said = f'{type(problem).__name__}: {problem}'\n"
    )
    told = _in_child("sim.compute.plain", "meters.finished += 1", "meters.finished += 2", script)
    assert told.startswith("LawViolation: L1: node 0")
    names: dict[str, object] = {}
    exec(script, names)
    assert int(str(names["said"])) > 50


def test_children_end_by_themselves_by_signal_or_in_time() -> None:
    def work(task: str, say: fork.Say) -> None:
        if task == "loop":
            fork.alarm(0.05)
            while True:
                pass
        if task == "raise":
            raise ValueError("no")
        if task == "sleep":
            signal.pause()
        say("fine")

    said = dict(fork.each(["fine", "loop", "raise", "sleep"], work, 2, 1.0))
    assert said == {
        "fine": "fine", "loop": fork.TIMEOUT, "sleep": fork.TIMEOUT,
        "raise": f"{fork.DIED}: ValueError('no')",
    }  # fmt: skip


def test_what_the_kill_suite_leaves_out_is_there() -> None:
    assert set(suite.LONG_PROOFS) <= set(PROOFS)
    for name in (*suite.PATHS, *suite.LEFT_OUT):
        path, _, test = name.partition("::")
        assert (rule.ROOT / path).exists(), name
        assert not test or f"def {test.split('[')[0]}(" in (rule.ROOT / path).read_text(), name


def test_every_explanation_is_of_a_mutant_that_there_is() -> None:
    for identity, entry in report.explained().items():
        assert entry["verdict"] in {report.EQUIVALENT, report.ACCEPTED}
        assert len(entry["reason"]) > 15, identity
        assert rule.mutate(rule.find(identity))[1] == entry["change"], identity


def test_explanations_hold_for_one_change_only() -> None:
    known = {"m:f:sign:0": {"change": "-a -> a", "verdict": "equivalent", "reason": "..."}}
    left = runner.Outcome("m:f:sign:0", runner.SURVIVED, "-a -> a")
    edited = runner.Outcome("m:f:sign:0", runner.SURVIVED, "-b -> b")
    assert report.verdict(left, known) == "equivalent"
    assert report.verdict(edited, known) == "unexplained"


def test_every_hand_made_mistake_still_applies() -> None:
    assert len(semantic.BUGS) >= 20
    for bug in semantic.BUGS:
        patch = semantic.patch(bug)
        assert patch.functions, bug.name
        ast.parse(semantic.patched(bug)[0])
    with pytest.raises(ValueError, match=r"is 0 times in sim\.pace"):
        semantic.patched(semantic.Bug("none", "sim.pace", (("no such text", ""),)))
