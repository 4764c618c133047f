"""Every page of the report in a real browser: from disk, no error, no foreign request."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.browser

READY = """() => [...document.querySelectorAll('.figure')].every(
    n => n.dataset.drawn && n.dataset.drawn === n.dataset.wanted)"""
# panel -> least number of traces in its first figure
PANELS = {
    "index": {},
    "compare": {"pareto": 6, "forest": 4, "sweep": 3},
    "regret": {"cumulative": 25, "where": 1, "parts": 9, "around": 4, "context": 9},
    "memory": {"stack": 4, "footprint": 6},
    "requests": {"tail": 3, "time": 3, "waterfall": 3},
    "nodes": {"heat": 2, "map": 3, "faults": 1},
}


@contextmanager
def opened(browser, report, page, hash_="", width=1300):
    """Open a page; any error or foreign request fails the test when it is closed."""
    context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: wrong.append(str(e)))
    tab.on("dialog", lambda d: wrong.append(f"dialog: {d.message}"))
    local = ("file:", "data:", "blob:")
    tab.on("request", lambda r: None if r.url.startswith(local) else wrong.append(r.url))
    tab.goto((report / f"{page}.html").as_uri() + hash_)
    tab.wait_for_function(READY)
    yield tab
    context.close()
    assert not wrong


def traces(tab, panel):
    return tab.evaluate("id => document.getElementById('figure-' + id)._fullData.length", panel)


def values(tab, panel):
    """All numbers of a figure, as the browser holds them."""
    return tab.evaluate(
        """id => document.getElementById('figure-' + id)._fullData.map(
            t => [t.name, Array.from(t.x || []).map(String), JSON.stringify(
                Array.from(t.z || t.y || [], v => v && v.length ? Array.from(v) : v))])""",
        panel,
    )


@pytest.mark.parametrize("page", PANELS)
def test_page_opens_from_disk_and_draws(browser, report, page) -> None:
    with opened(browser, report, page) as tab:
        assert tab.evaluate("[...document.querySelectorAll('.figure')].map(n => n.id)") == [
            f"figure-{panel}" for panel in PANELS[page]
        ]
        for panel, least in PANELS[page].items():
            assert traces(tab, panel) >= least, panel
        assert len(set(tab.screenshot())) > 200  # not one colour


@pytest.mark.parametrize("page", PANELS)
def test_page_fits_a_narrow_window(browser, report, page) -> None:
    with opened(browser, report, page, width=600) as tab:
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= 600
        lefts = tab.evaluate(
            "[...document.querySelectorAll('.card')].filter(n => n.offsetParent)"
            ".map(n => n.getBoundingClientRect().left)"
        )
        assert len(set(map(round, lefts))) <= 1  # one column


def test_the_metric_switch_changes_the_data(browser, report) -> None:
    with opened(browser, report, "nodes") as tab:
        before = values(tab, "heat"), values(tab, "map")
        tab.select_option("select[data-choice=metric]", "regret")
        tab.wait_for_function(READY)
        assert values(tab, "heat") != before[0]
        assert "metric=regret" in tab.evaluate("location.hash")


def test_the_link_restores_the_state(browser, report) -> None:
    state = "#case=load-0.7&metric=dropped&policy=top2"
    with opened(browser, report, "nodes", state) as tab:
        title = tab.evaluate("document.getElementById('figure-heat')._fullLayout.title.text")
        assert title == "Dropped (requests), under top2"
        assert (
            tab.evaluate("document.querySelector('select[data-choice=metric]').value") == "dropped"
        )
    with opened(browser, report, "nodes", "#metric=nonsense&case=<script>") as tab:
        assert tab.evaluate("moedge.state.metric") == "utilisation"


def test_a_case_shows_its_own_numbers(browser, report) -> None:
    with opened(browser, report, "index") as tab:
        shown = (
            "() => [...document.querySelectorAll('.when')]"
            ".filter(n => !n.hidden).map(n => n.dataset.whenCase)"
        )
        assert tab.evaluate(shown) == ["load-0.4"]
        tab.click("button[data-choice=case] >> nth=1")
        assert tab.evaluate(shown) == ["load-0.7"]


def test_another_request_is_another_waterfall(browser, report) -> None:
    with opened(browser, report, "requests") as tab:
        first = values(tab, "waterfall")
        tab.select_option("select[data-choice=request]", "median-under-tanbr")
        tab.wait_for_function(READY)
        assert values(tab, "waterfall") != first


def test_the_baseline_switch_changes_figure_and_table(browser, report) -> None:
    with opened(browser, report, "compare") as tab:
        assert "difference to tanbr" in tab.inner_text("#figure-forest")
        tab.click("button[data-choice=baseline][value=top2]")
        tab.wait_for_function(READY)
        assert "difference to top2" in tab.inner_text("#figure-forest")
        assert "top2 (baseline)" in tab.inner_text("#verdicts")


def test_a_legend_click_isolates_a_policy_on_the_whole_page(browser, report) -> None:
    visible = """() => [...document.querySelectorAll('.figure')].map(n => [...new Set(
        n._fullData.filter(t => t.legendgroup && t.visible === true)
            .map(t => t.legendgroup))].sort())"""
    with opened(browser, report, "requests") as tab:
        assert tab.evaluate(visible)[0] == ["<b>evil</b>", "tanbr", "top2"]
        tab.locator("#figure-tail .legendtoggle").nth(1).click()
        tab.wait_for_function("() => location.hash.includes('only=tanbr')")
        tab.wait_for_timeout(200)
        assert tab.evaluate(visible)[:2] == [["tanbr"], ["tanbr"]]
        tab.wait_for_timeout(400)  # a second click within the double-click time would not count
        tab.locator("#figure-tail .legendtoggle").nth(1).click()
        tab.wait_for_function("() => !location.hash.includes('only')")
        tab.wait_for_timeout(200)
        assert len(tab.evaluate(visible)[0]) == 3


def test_the_csv_is_what_the_figure_shows(browser, report) -> None:
    with opened(browser, report, "requests") as tab:
        with tab.expect_download() as caught:
            tab.click("#tail [data-csv]")
        rows = list(csv.reader(io.StringIO(caught.value.path().read_text("utf-8-sig"))))
        assert rows[0][:3] == ["series", "Latency (ms)", "Share slower"]
        drawn = values(tab, "tail")
        assert len(rows) - 1 == sum(len(x) for _, x, _ in drawn)
        assert {row[0] for row in rows[1:]} == {"<b>evil</b>", "tanbr", "top2"}
        assert float(rows[1][1]) == pytest.approx(float(drawn[0][1][0]), rel=1e-6)


def test_the_csv_of_a_heat_map_and_its_guard(browser, report) -> None:
    with opened(browser, report, "nodes") as tab:
        text = tab.evaluate("moedge.csv(document.getElementById('figure-heat'))")
        rows = list(csv.reader(io.StringIO(text)))
        assert rows[0][:2] == ["row", "Time (s)"]
        assert rows[1][0] == "edge-0"
        tab.evaluate("document.getElementById('figure-heat')._fullData[0].y[0] = '=1+1'")
        assert "'=1+1" in tab.evaluate("moedge.csv(document.getElementById('figure-heat'))")


def test_a_legend_of_many_rows_leaves_the_figure_free(browser, report) -> None:
    overlap = """id => { const n = document.getElementById('figure-' + id);
        return n.querySelector('g.legend').getBoundingClientRect().bottom
            - n.getBoundingClientRect().top - n._fullLayout._size.t; }"""
    with opened(browser, report, "regret", width=420) as tab:
        tab.wait_for_timeout(300)  # the figure is drawn again with more room
        for panel in ("cumulative", "parts"):
            assert tab.evaluate(overlap, panel) <= 0.0


def test_a_heading_sorts_the_table(browser, report) -> None:
    first = "() => document.querySelector('.when:not([hidden]) #ranking tbody tr').innerText"
    with opened(browser, report, "index") as tab:
        before = tab.evaluate(first)
        tab.click(".when:not([hidden]) #ranking th:has-text('Useful')")
        assert tab.evaluate(first) != before


def test_a_page_prints_without_its_controls(browser, report) -> None:
    with opened(browser, report, "compare") as tab:
        tab.emulate_media(media="print")
        assert not tab.locator(".links").is_visible()
        assert not tab.locator("#pareto .tools").is_visible()
        assert tab.locator("#figure-pareto").is_visible()


@pytest.mark.parametrize("page", PANELS)
def test_pages_of_a_large_fleet_open(browser, large, page) -> None:
    with opened(browser, large, page):
        pass


def test_the_mosaic_of_a_large_fleet_names_every_node(browser, large) -> None:
    with opened(browser, large, "nodes") as tab:
        rows = list(
            csv.reader(
                io.StringIO(tab.evaluate("moedge.csv(document.getElementById('figure-map'))"))
            )
        )
        assert [row[0] for row in rows[1:4]] == ["cloud", "edge-0", "edge-1"]
        assert len(rows) == 1 + 1101
        assert all(row[2] for row in rows[2:])
