"""Re-runs a finished trial from its run folder and compares digests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from analysis.load import IDENTITY
from scenarios.planning import Order, plan
from scenarios.results import RunFolder
from scenarios.trial import run_trial
from sim.errors import InputError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is on disk, and what a second run of the same trial gave."""

    trial: str
    policy: str
    seed: int
    kept: str
    found: str
    message: str = ""

    @property
    def same(self) -> bool:
        """Tell whether both digests are equal."""
        return bool(self.kept) and self.kept == self.found


def verify(trial: str, runs: Path = Path("runs")) -> Verdict:
    """Run a finished trial again, in a scratch folder, and compare its digest.

    Args:
        trial: A folder `.../trials/<id>`, or a bare id that is looked for under `runs`.
        runs: Where bare ids are looked for.

    Raises:
        InputError: There is no such finished trial, or its folder was made by another version.
    """
    folder, row = _find(trial, runs)
    status = folder.status(str(row["id"]))
    if status is None or not status.done:
        raise InputError(f"{trial}: not finished; nothing to compare with")
    # an axis of other trials in the folder is None here
    axes = {key: value for key, value in row.items() if key not in IDENTITY and value is not None}
    settings = tuple(f"{key}={value}" for key, value in axes.items())
    with TemporaryDirectory(prefix="moedge-verify-") as scratch:
        order = Order(
            source=str(folder.root / "resolved.yaml"),
            settings=settings,
            policies=() if row["policy"] == "none" else (str(row["policy"]),),
            seeds=(int(row["seed"]),),
            out=Path(scratch),
        )
        job = plan(order).jobs[0]
        again = run_trial(job).status
    return Verdict(str(row["id"]), job.label, job.seed, status.digest, again.digest, again.message)


def _find(trial: str, runs: Path) -> tuple[RunFolder, Mapping[str, Any]]:
    path = Path(trial)
    if path.parent.name == "trials":
        roots, name = [path.parent.parent], path.name
    else:
        roots, name = sorted(p.parent for p in runs.glob("*/*/trials.parquet")), trial
    known: list[str] = []
    for root in roots:
        folder = RunFolder(root)
        for row in folder.trials():
            if row["id"] == name:
                return folder, row
            known.append(str(row["id"]))
    if not known:
        raise InputError(
            f"{trial}: no run folder there; expected RUN/trials/ID or an id under {runs}/"
        )
    raise UnknownName("trial", name, known)
