"""The verb `train`: a recipe becomes a checkpoint, with its stages shown as they run."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from scenarios.progress import say, span
from sim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from agents.moe.recipe import Recipe


class _Stages:
    """Shows the stages of training: a bar on a terminal, a line per finished stage elsewhere."""

    def __init__(self) -> None:
        self._bars: dict[str, Any] = {}
        self._progress: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True))
            self._progress.start()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._progress is None:
            if done >= total and stage not in self._bars:
                self._bars[stage] = True
                say(f"  {stage}: {total} of {total}")
            return
        if stage not in self._bars:
            self._bars[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._bars[stage], completed=done, total=total)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


def train_checkpoint(
    name: str, out: Path | None, *, again: bool = False, oracle: int | None = None
) -> dict[str, Any]:
    """Train a recipe, check that merging matters on it, measure its tables, write its checkpoint.

    Args:
        name: The recipe.
        out: The folder; the recipe's cache folder when None.
        again: Also when the folder has this very recipe's checkpoint already.
        oracle: Rows of the oracle table, None: as shipped.

    Returns:
        recipe, checkpoint (path), digest, check, wall_s.

    Raises:
        UnknownName: No such recipe.
        InputError: The trained model is useless for merging; the message shows the bounds.
    """
    from agents.moe.cards import checkpoint_dir
    from agents.moe.recipe import recipe

    wanted, started_s = recipe(name), time.perf_counter()
    path = (out or checkpoint_dir(wanted)) / f"{name}.safetensors"
    if not again and _is_trained(path, wanted):
        say(f"{path} is there already (--again trains it once more)")
    else:
        say(f"training {name}: about a minute of one core; its table of merges takes minutes")
        _build(wanted, path.parent, oracle)
    return _facts(name, path, time.perf_counter() - started_s)


def _is_trained(path: Path, wanted: Recipe) -> bool:
    from agents.moe.cards import read_card
    from agents.moe.recipe import recipe_hash

    if not path.is_file():
        return False
    try:
        return bool(read_card(str(path)).trained.get("hash") == recipe_hash(wanted))
    except InputError:
        return False


def _build(wanted: Recipe, folder: Path, oracle: int | None) -> None:
    from agents.moe.build import build_checkpoint
    from agents.moe.check import render

    stages = _Stages()
    try:
        built = build_checkpoint(wanted, folder, oracle=oracle, progress=stages)
    finally:
        stages.close()
    say(render(built.landscape))
    say(f"trained in {built.train_cpu_s:.1f} CPU s")


def _facts(name: str, path: Path, wall_s: float) -> dict[str, Any]:
    from agents.moe.cards import read_card

    card = read_card(str(path))
    say(f"{path}: {card.experts} experts, {len(card.tasks)} tasks, in {span(wall_s)}")
    check = card.trained.get("check", {})
    about = {"recipe": name, "checkpoint": str(path), "digest": card.digest}
    return {**about, "check": check, "wall_s": wall_s}
