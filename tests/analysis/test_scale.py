"""A fleet of more nodes than fit a figure: what is picked, and that the report stays small."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from analysis.figures import nodes as draw
from analysis.load import Run
from analysis.pages import nodes as page
from analysis.pages.context import Context
from analysis.queries import heat
from analysis.report import write_report
from tests.analysis.folder import Shape, write

SHAPE = Shape(
    policies=("local", "least"), seeds=(1,), edges=1100, slots=3, rate_per_s=0.5, model=False,
    drift=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    return Run(write(tmp_path_factory.mktemp("big") / "run", SHAPE))


@pytest.fixture(scope="module")
def built(big):
    ctx = Context(big)
    return ctx, page.build(ctx)


def test_the_worst_nodes_and_an_even_sample_are_drawn(built) -> None:
    ctx, made = built
    figures = next(panel for panel in made.panels if panel.id == "heat").figures
    names = [list(figure.data[0].y) for key, figure in figures.items() if "queue" in key]
    assert names[0] == names[1]  # the same nodes under every policy
    drawn = [int(name.split("-")[1]) for name in names[0] if name != "cloud"]
    assert (len(names[0]), drawn) == (draw.MOST_ROWS, sorted(set(drawn)))
    heats = [heat(ctx.run, trial) for trial in ctx.run.done]
    drops, queue = (
        np.max([np.nan_to_num(h.values[key]).max(axis=1) for h in heats], axis=0)
        for key in ("dropped", "queue")
    )
    assert drops.argmax() == 1 in drawn  # the node that crashes
    ranked = sorted(range(1100), key=lambda i: (-drops[i], -queue[i]))
    assert set(ranked[:150]) <= set(drawn)
    gaps = np.diff([0, *drawn, 1100])
    assert gaps.max() <= 12  # no stretch of the fleet is left out


def test_a_mosaic_shows_every_node_by_name_and_value(built) -> None:
    ctx, made = built
    panel = next(panel for panel in made.panels if panel.id == "map")
    assert "A square per node" in panel.caption
    key = next(key for key in panel.figures if "queue" in key)
    (cells,) = panel.figures[key].data
    names = [name for row in cells.hovertext for name in row if name]
    assert names[:3] == ["cloud", "edge-0", "edge-1"]
    assert len(names) == 1101
    values = np.array(cells.z).ravel()[: len(names)]
    trial = next(t for t in ctx.run.done if t.policy == ctx.ordered[0])
    assert values[1:] == pytest.approx(
        np.nanmean(heat(ctx.run, trial).values["queue"], axis=1)[:-1]
    )


def test_the_page_says_what_it_leaves_out(built) -> None:
    heats = next(panel for panel in built[1].panels if panel.id == "heat")
    assert "400 of 1,101 nodes" in heats.caption


def test_a_report_of_a_large_fleet_is_small(big, tmp_path) -> None:
    start_s = time.process_time()
    folder = write_report(big.root, tmp_path / "report").parent
    assert time.process_time() - start_s < 20.0
    data = sum(path.stat().st_size for path in folder.rglob("*.js") if "plotly" not in path.name)
    assert data < 2e6
    text = (folder / "nodes.html").read_text(encoding="utf-8")
    assert json.loads(text.split('type="application/json">')[1].split("</script>")[0])["files"]
