"""The verb `train`: a recipe becomes a checkpoint, with its stages shown as they run."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from scenarios.progress import say, span

if TYPE_CHECKING:
    from pathlib import Path


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


def train_checkpoint(name: str, out: Path | None, *, oracle: bool) -> dict[str, Any]:
    """Train a recipe and write its checkpoint.

    Args:
        name: The recipe.
        out: The folder; the cache folder of the recipe when None.
        oracle: Also measure the table of merges that regret needs.

    Returns:
        recipe, checkpoint (path), digest, wall_s.

    Raises:
        UnknownName: No such recipe.
        SimError: The trained model is useless for merging.
    """
    from agents.moe.cards import checkpoint_dir
    from agents.moe.recipe import recipe

    wanted = recipe(name)
    folder = out or checkpoint_dir(wanted)
    from agents.moe.checkpoint import build_checkpoint

    say(f"training {name}; about a minute, the table of merges included")
    stages, started_s = _Stages(), time.perf_counter()
    try:
        build_checkpoint(wanted, folder, oracle=oracle, progress=stages)
    finally:
        stages.close()
    return _facts(name, folder, time.perf_counter() - started_s)


def _facts(name: str, folder: Path, wall_s: float) -> dict[str, Any]:
    from agents.moe.cards import read_card

    card = read_card(str(folder / f"{name}.safetensors"))
    say(
        f"{folder / f'{name}.safetensors'}: {card.experts} experts, "
        f"{len(card.tasks)} tasks, in {span(wall_s)}"
    )
    return {"recipe": name, "checkpoint": str(folder), "digest": card.digest, "wall_s": wall_s}
