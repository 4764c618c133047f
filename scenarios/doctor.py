"""What may be missing or broken on this machine, each with the line that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from scenarios.provenance import NameTakenError, check_names, code_version, distribution_version

_LEAST_FREE_BYTES = 2 * 2**30
_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
    "firefox",
    "open",
    "xdg-open",
)
_NEEDED = (
    "simpy",
    "torch",
    "ray",
    "numba",
    "numpy",
    "networkx",
    "scipy",
    "plotly",
    "pydantic",
    "typer",
    "duckdb",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked at, what was found, and how to mend it when it is not well."""

    name: str
    found: str
    well: bool = True
    fix: str = ""


def examine(out: Path) -> list[Finding]:
    """Look at the machine; `out` is where run folders would go."""
    libraries = [_library(name) for name in _NEEDED]
    return [
        _python(),
        _moedge(),
        *libraries,
        _torch_build(),
        _names(),
        _cores(),
        _disk(out),
        _browser(),
        _checkpoints(),
        _kernels(),
    ]


def _python() -> Finding:
    version = sys.version.split()[0]
    well = sys.version_info >= (3, 11)
    return Finding(
        "Python",
        version,
        well,
        "" if well else "make the virtual environment with Python 3.11 or newer",
    )


def _moedge() -> Finding:
    return Finding("moedge", f"{code_version()} in {Path(__file__).resolve().parent.parent}")


def _library(name: str) -> Finding:
    version = distribution_version(name)
    fix = f"pip install -c constraints.txt {name}"
    return Finding(name, version or "missing", version is not None, "" if version else fix)


def _torch_build() -> Finding:
    """Tell the CPU build from a CUDA one by its files, without importing it."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return Finding("torch build", "missing", False, "pip install -c constraints.txt torch")
    cuda = any((Path(spec.origin).parent / "lib").glob("*torch_cuda*"))
    return Finding("torch build", "CUDA" if cuda else "CPU")


def _names() -> Finding:
    try:
        check_names()
    except NameTakenError as error:
        return Finding("package names", "taken", False, str(error))
    return Finding("package names", "free")


def _cores() -> Finding:
    cores = os.cpu_count() or 1
    return Finding(
        "cores", str(cores), True, "" if cores > 1 else "trials will run one after the other"
    )


def _disk(out: Path) -> Finding:
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    found = f"{free / 2**30:.1f} GiB free at {place}" + ("" if writable else ", not writable")
    well = writable and free >= _LEAST_FREE_BYTES
    return Finding(
        "disk",
        found,
        well,
        "" if well else "choose another place with --out, or free at least 2 GiB",
    )


def _browser() -> Finding:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    fix = "reports are plain files: copy report/ to a machine with a browser, or use `moedge serve`"
    return Finding("browser", found or "none found", True, "" if found else fix)


def _checkpoints() -> Finding:
    from agents.moe.cards import read_card
    from agents.moe.recipe import RECIPES
    from sim.errors import InputError

    ready = []
    for name in RECIPES:
        try:
            ready.append(f"{name} ({read_card(f'builtin:{name}').digest[:8]})")
        except InputError:
            continue
    well = any(text.startswith("stream ") for text in ready)
    return Finding(
        "checkpoints", ", ".join(ready) or "none", well, "" if well else "moedge train stream"
    )


def _kernels() -> Finding:
    from sim.fast.jit import ready

    if ready():
        return Finding("kernels", "compiled")
    return Finding("kernels", "not compiled yet", True, "moedge kernels")
