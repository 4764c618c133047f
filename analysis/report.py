"""The report: a folder of static pages that opens from a USB stick, with no server and no network.

`index.html` and its sisters share one copy of plotly.js, a style sheet and a script; figures lie
beside them as scripts that are loaded when a reader asks for them.
"""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from analysis.load import open_run
from analysis.pages import compare, memory, nodes, overview, regret, requests
from analysis.pages.context import Context
from analysis.pages.footer import footer
from analysis.pages.html import Page, Panel, document, guard, script
from sim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BUILDERS = (overview.build, compare.build, regret.build, memory.build, requests.build, nodes.build)
_ONE_FILE_BYTES = (
    1_000_000  # above this a panel's figures lie in a file each, so that none waits for all
)


def write_report(run_dir: Path, out: Path | None = None, baseline: str | None = None) -> Path:
    """Write the report of a run folder and return the path of its first page.

    Args:
        run_dir: `runs/<experiment>/<hash8>`, or `runs/<experiment>` when it holds one run.
        out: Where to write; `<run folder>/report` by default. An older report there is replaced.
        baseline: The policy that differences are taken against; by default the first of the trials.

    Raises:
        InputError: Not a run folder, a table is missing, the baseline has no finished trial, or a
            file is in the way.
    """
    run = open_run(run_dir)
    target = out if out is not None else run.root / "report"
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; a report is a folder")
    pages = [build(ctx) for ctx in [Context(run, baseline)] for build in _BUILDERS]
    fresh = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    _assets(fresh / "assets", pages)
    foot = footer(run)
    for page in pages:
        manifest = {f"{page.slug}-{panel.id}": _data(fresh, page, panel) for panel in page.panels}
        text = document(page, run.experiment, foot, manifest)
        (fresh / f"{page.slug}.html").write_text(text, encoding="utf-8")
    _replace(fresh, target)
    return target / "index.html"


def _replace(fresh: Path, target: Path) -> None:
    """Put the new folder in place of an older report; anything else in the way is left alone."""
    if (target / "assets" / "report.js").is_file():
        shutil.rmtree(target)
    if target.is_dir():
        shutil.copytree(fresh, target, dirs_exist_ok=True)
        shutil.rmtree(fresh)
    else:
        fresh.rename(target)


def _assets(folder: Path, pages: list[Page]) -> None:
    folder.mkdir(parents=True)
    for name in ("report.css", "report.js"):
        (folder / name).write_bytes((files("analysis.pages") / "assets" / name).read_bytes())
    if not any(page.panels for page in pages):
        (folder / "template.js").write_text("window.moedge={};\n", encoding="utf-8")
        return
    import plotly.offline as plotly

    from analysis.figures.style import template

    (folder / "plotly.min.js").write_text(plotly.get_plotlyjs(), encoding="utf-8")
    shared = script(template().to_plotly_json())
    (folder / "template.js").write_text(f"window.moedge={{template:{shared}}};\n", encoding="utf-8")


def _data(folder: Path, page: Page, panel: Panel) -> dict[str, str]:
    """Write a panel's figures and return key -> file."""
    figures = {"|".join(key): figure_json(figure) for key, figure in panel.figures.items()}
    name = f"{page.slug}-{panel.id}"
    (folder / "data").mkdir(exist_ok=True)
    if sum(map(len, figures.values())) <= _ONE_FILE_BYTES:
        _write(folder / "data" / f"{name}.js", name, figures)
        return dict.fromkeys(figures, f"data/{name}.js")
    found = {}
    for place, (key, text) in enumerate(figures.items()):
        _write(folder / "data" / f"{name}-{place}.js", name, {key: text})
        found[key] = f"data/{name}-{place}.js"
    return found


def _write(path: Path, panel: str, figures: Mapping[str, str]) -> None:
    # each figure is a text: the script parses a fresh copy per drawing, since Plotly changes what
    # it draws
    path.write_text(f"moedge.put({script(panel)},{script(figures)});\n", encoding="utf-8")


def figure_json(figure: Any) -> str:
    """Return a figure as JSON without its template, which the page has once."""
    made: dict[str, Any] = json.loads(figure.to_json(validate=False))
    made["layout"].pop("template", None)
    return guard(json.dumps(made, ensure_ascii=False, separators=(",", ":")))
