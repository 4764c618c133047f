"""Make small mistakes in the physics, one at a time, and see whether the tests notice.

    python tests/mutation/mutate.py [--per-function 1] [--only sim.network] [--seed 0] [--jobs 2]
                                    [--list] [--mutant ID] [--semantic] [--out FILE]

Every function of the physics rooms is mutated, by rule (`rule.choose`): `operators.OPERATORS` lists
the mistakes, `suite.PATHS` the tests. `--semantic` makes the hand-made mistakes of `semantic.BUGS`
instead. A survivor is explained in `explained.json`: `equivalent` if nothing that the simulator
promises can tell the two apart, `accepted` with a reason if a test would not be worth it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # other distributions install packages named `tests`, too

from tests.mutation import (  # noqa: E402
    cover,
    report,
    rule,
    runner,
    semantic,
    suite,
)


def patch_of(mutant: rule.Mutant) -> runner.Patch:
    """Return what the runner needs to judge a mutant."""
    function = mutant.function.name.split(".<locals>")[0]
    lines = tuple(range(mutant.lines[0], mutant.lines[1] + 1))
    return runner.Patch(
        mutant.id, mutant.function.module, lambda: rule.mutate(mutant), (function,), lines
    )


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--per-function", type=int, default=1, help="mutants of each function")
    parser.add_argument("--only", default="", help="modules that begin so, by comma")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--list", action="store_true", help="show the chosen mutants, run nothing")
    parser.add_argument("--mutant", nargs="+", default=[], metavar="ID", help="judge just these")
    parser.add_argument("--semantic", action="store_true", help="make the hand-made mistakes")
    parser.add_argument("--out", type=Path, help="write all outcomes here, as JSON")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the script; returns 0 when enough was caught and every survivor is explained."""
    args = _arguments(words)
    mutants = [rule.find(i) for i in args.mutant]
    mutants = mutants or rule.sample(args.only, args.per_function, args.seed)
    if args.list:
        for mutant in mutants:
            print(f"{mutant.id}  line {mutant.lines[0]}: {rule.mutate(mutant)[1]!r}")
        return 0
    patches = semantic.patches() if args.semantic else [patch_of(m) for m in mutants]
    suite.prepare()
    known = cover.measured()
    print(report.suite_line(known), flush=True)
    first = ("theory", "laws", "oracles") if args.semantic else ()
    outcomes = []
    for outcome in runner.Runner(known, args.jobs, first).judge(patches):
        outcomes.append(outcome)
        print(report.line(outcome), flush=True)
    if args.out:
        args.out.write_text(json.dumps([asdict(o) for o in outcomes], indent=1), encoding="utf-8")
    if args.semantic:
        return report.semantic(outcomes)
    return report.table(outcomes, report.census(args.only))


if __name__ == "__main__":
    raise SystemExit(main())
