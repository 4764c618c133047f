"""The provenance block at the foot of every page: can I repeat it?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from analysis.pages.html import esc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.load import Run


def footer(run: Run) -> str:
    """Return versions, digests, seeds and the commands that repeat the run."""
    facts = _facts(run)
    items = "".join(
        f"<dt>{esc(name)}</dt><dd>{value}</dd>" for name, value in facts.items() if value
    )
    return (
        '<footer class="provenance"><div><h2>Provenance</h2>'
        f"<dl>{items}</dl>{_commands(run)}{_digests(run)}"
        f"{_file(run, 'resolved.yaml', 'Resolved scenario')}"
        f"{_file(run, 'provenance.json', 'All recorded facts')}</div></footer>"
    )


def _session(run: Run) -> Mapping[str, Any]:
    sessions = run.provenance.get("sessions") or [{}]
    found: Mapping[str, Any] = sessions[-1]
    return found


def _facts(run: Run) -> dict[str, str]:
    known, session = run.provenance, _session(run)
    git = known.get("git") or {}
    libraries = session.get("libraries") or {}
    seeds = sorted({trial.seed for trial in run.trials})
    return {
        "Experiment": f"{esc(run.experiment)} <code>{esc(run.root.name)}</code>",
        "moedge": esc(known.get("code") or known.get("moedge") or ""),
        "Commit": f"<code>{esc(git['sha'])}</code>{' (edited)' if git.get('dirty') else ''}"
        if git.get("sha")
        else "",
        "Scenario": _sha(known.get("scenario_sha256")),
        "Checkpoint": _sha(known.get("checkpoint_sha256")),
        "Seeds": esc(", ".join(map(str, seeds))),
        "Trials": f"{len(run.done)} finished of {len(run.trials)}",
        "Machine": esc(", ".join(str(session[k]) for k in ("cpu", "os") if session.get(k))),
        "Python": esc(session.get("python") or ""),
        "Libraries": esc(", ".join(f"{name} {v}" for name, v in libraries.items() if v)),
        "Ran": esc(" to ".join(str(session[k]) for k in ("started", "stopped") if session.get(k))),
    }


def _sha(value: Any) -> str:
    return f"<code>sha256:{esc(str(value)[:16])}…</code>" if value else ""


def _commands(run: Run) -> str:
    argv = [str(word) for word in _session(run).get("argv") or ()]
    if argv and argv[0].endswith((".py", "/moedge")):
        argv[0] = "moedge"
    lines = [shlex.join(argv)] if argv else []
    if run.done:
        trial = run.root / "trials" / run.done[0].id
        lines.append(f"moedge verify {shlex.quote(str(trial))}")
    lines.append(f"moedge report {shlex.quote(str(run.root))}")
    return f"<h3>Repeat it</h3><pre>{esc(chr(10).join(lines))}</pre>"


def _digests(run: Run) -> str:
    if not run.done:
        return ""
    rows = "".join(
        f"<tr><td>{esc(t.id)}</td><td class='left'>{esc(t.policy)}</td><td>{t.seed}</td>"
        f"<td class='left'><code>{esc(str(t.status.get('digest', ''))[:24])}</code></td>"
        "<td "
        f"class='left'><code>{esc(str(t.status.get('workload_digest', ''))[:16])}</code></td></tr>"
        for t in run.done
    )
    return (
        "<details><summary>Digests of the finished trials</summary><div "
        "class='scroll'><table><thead><tr><th>Trial</th>"
        "<th class='left'>Policy</th><th>Seed</th><th class='left'>Digest</th><th "
        "class='left'>Workload</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _file(run: Run, name: str, title: str) -> str:
    text = run.text(name)
    return (
        f"<details><summary>{esc(title)}</summary><pre>{esc(text)}</pre></details>" if text else ""
    )
