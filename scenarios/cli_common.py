"""What all verbs share: exit codes, messages instead of tracebacks, a clean stdout."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from scenarios.files import plain
from scenarios.progress import say
from scenarios.stopping import stopping
from sim.errors import InputError, SimError

if TYPE_CHECKING:
    from collections.abc import Iterator

OK, TRIAL_FAILED, BAD_INPUT, BREACHED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: stop like Ctrl-C, with another exit code."""


def _terminate(_number: int, _frame: Any) -> NoReturn:
    raise Terminated


@contextmanager
def guarded(*, resumes: bool = False) -> Iterator[None]:
    """Turn what may happen to a verb into one message and an exit code.

    Args:
        resumes: Repeating the verb goes on where it stopped.

    Raises:
        typer.Exit: 2 for bad input, 1 for a failure, 130 or 143 when stopped.
    """
    with suppress(
        ValueError
    ):  # only the main thread may set handlers (a notebook's verb may run elsewhere)
        signal.signal(signal.SIGTERM, _terminate)
    try:
        with stopping(lambda: _last_words(resumes)):
            yield
    except InputError as error:
        say(f"error: {error}")
        raise typer.Exit(BAD_INPUT) from None
    except (SimError, OSError) as error:
        say(f"error: {error}")
        raise typer.Exit(TRIAL_FAILED) from None
    except KeyboardInterrupt as stop:
        say(_last_words(resumes))
        raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None


def _last_words(resumes: bool) -> str:
    kept = f"; finished trials are kept. Resume with: {resume_line()}" if resumes else ""
    return f"stopped{kept}"


def resume_line() -> str:
    """Return the command that goes on from here (`--fresh` would throw the results away)."""
    return shlex.join(["moedge", *(word for word in sys.argv[1:] if word != "--fresh")])


@contextmanager
def json_only(wanted: bool) -> Iterator[None]:
    """Send what anyone prints (Ray, libraries) to stderr while a verb with `--json` works."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = _divert()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _divert() -> int | None:
    """Point file descriptor 1 at stderr and return a copy of the old one, None if that fails."""
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:
        return None
    return kept


def emit(facts: Any) -> None:
    """Write one JSON value to stdout, strict: NaN and infinity become null."""
    print(json.dumps(plain(facts), indent=1, ensure_ascii=False, allow_nan=False))


def emit_text(text: str) -> None:
    """Write text that is the verb's product (a schema, a resolved file) to stdout."""
    print(text, end="" if text.endswith("\n") else "\n")


def words(text: str) -> tuple[str, ...]:
    """Split `a,b` into its words, blanks around them removed."""
    return tuple(word for part in text.split(",") if (word := part.strip()))


def find_run(name: str) -> Path:
    """Return the run folder that a user means: the folder, or its experiment's newest one.

    Args:
        name: `runs/metro/1a2b3c4d`, `runs/metro`, or `metro` (looked for under `runs`).

    Raises:
        InputError: There is none; the message names those that exist.
    """
    for base in (Path(name), Path("runs") / name):
        if (base / "provenance.json").is_file():
            return base
        newest = sorted(
            base.glob("*/provenance.json"), key=lambda path: (path.stat().st_mtime, str(path))
        )
        if newest:
            return newest[-1].parent
    known = sorted(str(path.parent) for path in Path("runs").glob("*/*/provenance.json"))
    there = f"; there are: {', '.join(known)}" if known else "; run `moedge compare SCENARIO` first"
    raise InputError(f"{name}: no run folder (expected a folder with provenance.json){there}")
