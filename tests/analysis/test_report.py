from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from analysis.figures.style import SYMBOLS, Look
from analysis.pages.html import Choice, esc, guard, script, slugs
from analysis.pages.svg import Scale, Strip, is_log, mark, sparkline, strips
from analysis.report import write_report
from scenarios.results import RunFolder, write_json
from sim.errors import InputError
from tests.analysis.folder import Shape, write

PAGES = ("index", "compare", "regret", "memory", "requests", "nodes")
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "=cmd|' /C calc'!A0",
)


@pytest.fixture(scope="module")
def report(run_dir, tmp_path_factory):
    return write_report(run_dir, tmp_path_factory.mktemp("site") / "report").parent


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    shape = Shape(policies=HOSTILE, seeds=(1,), edges=2, slots=12, name="<i>run</i>")
    return write_report(write(tmp_path_factory.mktemp("hostile") / "run", shape)).parent


def test_all_pages_share_one_library_and_name_each_other(report) -> None:
    for page in PAGES:
        text = (report / f"{page}.html").read_text()
        for other in PAGES:
            assert f'href="{other}.html"' in text
        assert text.count("plotly.min.js") == (page != "index")
        assert "abcd1234" in text  # provenance
    assert len(list(report.rglob("plotly*.js"))) == 1


def test_no_page_asks_for_anything_outside(report) -> None:
    for page in report.glob("*.html"):
        links = re.findall(r'(?:src|href)="([^"]+)"', page.read_text())
        assert all(not re.match(r"(?:https?:)?//", link) for link in links)
        for link in links:
            assert link.startswith(("data:,", "#")) or (report / link).is_file(), link


def test_every_figure_of_the_manifest_lies_in_its_file(report) -> None:
    for page in PAGES:
        facts = manifest(report / f"{page}.html")
        assert bool(facts["files"]) == (page != "index")
        for panel, keys in facts["files"].items():
            for key, file in keys.items():
                figure = json.loads(figures(report / file)[panel][key])
                assert figure["layout"].get("template") is None
                assert figure["data"] or figure["layout"]["annotations"]


def manifest(path):
    found = re.search(
        r'<script id="moedge-page" type="application/json">(.*?)</script>', path.read_text()
    )
    assert found
    return json.loads(found.group(1))


def figures(path):
    found = re.fullmatch(r"moedge\.put\((\".*?\"),(\{.*\})\);\n", path.read_text(), re.S)
    assert found
    return {json.loads(found.group(1)): json.loads(found.group(2))}


def test_hostile_names_stay_text(hostile) -> None:
    for path in hostile.glob("*.html"):
        text = path.read_text()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<i>run</i>" not in text
        assert "&lt;i&gt;run&lt;/i&gt;" in text
    for path in (hostile / "data").glob("*.js"):
        assert "<" not in path.read_text(), path


def test_hostile_names_stay_text_inside_figures(hostile) -> None:
    for path in (hostile / "data").glob("*.js"):
        for keyed in figures(path).values():
            for text in keyed.values():
                for trace in json.loads(text)["data"]:
                    shown = json.dumps([trace.get(k) for k in ("name", "text", "hovertemplate")])
                    assert "<script" not in shown
                    assert "<img" not in shown


def test_a_second_report_replaces_the_first_and_nothing_else(run_dir, tmp_path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    first = write_report(run_dir, out)
    assert (out / "mine.txt").read_text() == "keep"
    assert write_report(run_dir, out) == first == out / "index.html"
    assert not list(tmp_path.glob(".report*"))


def test_failures_targets_and_assumptions_are_on_the_first_page(run_dir, tmp_path) -> None:
    root = tmp_path / "run"
    shutil.copytree(run_dir, root)
    kept = {
        "text": "p99_latency <= 1 s",
        "policy": "tanbr",
        "cell": "",
        "found": "271 ms",
        "kept": True,
    }
    write_json(
        root / "asserts.json", {"asserts": [kept, {**kept, "policy": "top2", "kept": False}]}
    )
    text = write_report(root).read_text()
    assert "PlanRefused: 9 GiB do not fit" in text
    assert "Targets: 1 of 2 kept" in text
    assert "p99_latency &lt;= 1 s" in text
    assert "switch-base-8" in text
    assert "an assumption, not a measurement" in text


def test_a_run_without_a_finished_trial_says_what_to_run(tmp_path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_trials([{"id": "a", "policy": "tanbr", "seed": 1, "status": "planned"}])
    page = write_report(tmp_path)
    for name in PAGES:
        assert "moedge compare" in (page.parent / f"{name}.html").read_text()
    assert "1 trials have not run yet" in page.read_text()


def test_a_run_without_a_model_has_empty_states(tmp_path) -> None:
    shape = Shape(policies=("none",), seeds=(1,), edges=2, slots=12, model=False, fault=False)
    folder = write_report(write(tmp_path / "run", shape)).parent
    assert "no reward and no regret" in (folder / "regret.html").read_text()
    assert "no memory ledger" in (folder / "memory.html").read_text()
    assert "nothing to compare it with" in (folder / "compare.html").read_text()


def test_cases_are_kept_apart(tmp_path) -> None:
    shape = Shape(
        policies=("tanbr", "top2"), seeds=(1,), edges=2, slots=12, fault=False,
        axes=({"load": "0.4"}, {"load": "0.8"}),
    )  # fmt: skip
    folder = write_report(write(tmp_path / "run", shape)).parent
    text = (folder / "index.html").read_text()
    assert 'data-when-case="load-0.4"' in text
    assert '<div class="when" data-when-case="load-0.8" hidden>' in text
    assert "sweep" in (folder / "compare.html").read_text()


def test_an_unknown_baseline_is_refused(run_dir, tmp_path) -> None:
    with pytest.raises(InputError, match="baseline 'nobody' has no finished trial"):
        write_report(run_dir, tmp_path / "r", baseline="nobody")


def test_the_baseline_can_be_chosen(run_dir, tmp_path) -> None:
    page = write_report(run_dir, tmp_path / "r", baseline="uniform")
    assert "difference to <b>uniform</b>" in page.read_text()


# --- small parts ---------------------------------------------------------------------------------


def test_escapes() -> None:
    assert esc("<a href='x'>\"&") == "&lt;a href=&#x27;x&#x27;&gt;&quot;&amp;"
    assert json.loads(script({"a": "</script>&\u2028"})) == {"a": "</script>&\u2028"}
    assert not set("<>&\u2028\u2029") & set(guard("</script>&\u2028\u2029"))


def test_slugs_are_unique_and_safe() -> None:
    found = slugs(["Top 2", "top-2", "ü", "load = 0.4", ""])
    assert found == ["top-2", "top-2-1", "x", "load-0.4", "x-4"]
    assert Choice.of("a", "A", ["x y"]).options == (("x-y", "x y"),)


def test_strips_show_intervals_from_five_seeds_on_and_dots_before() -> None:
    look = Look("#0072B2", "circle", "solid")
    wide = Strip("a<b", look, 2.0, 1.0, 3.0, "2 s", (1.0, 3.0))
    text = strips([wide])
    assert "a&lt;b" in text
    assert 'stroke-width="2"' in text
    dots = strips([Strip("a", look, 2.0, np.nan, np.nan, "2 s", (1.0, 3.0))])
    assert dots.count('r="2"') == 2


def test_every_symbol_has_a_shape() -> None:
    assert len({mark(Look("#000000", symbol, "solid"), 5, 5) for symbol in SYMBOLS}) == len(SYMBOLS)


def test_sparklines_break_where_values_are_missing() -> None:
    look = Look("#0072B2", "circle", "solid")
    text = sparkline(np.array([1.0, 2.0, np.nan, 1.0]), look, Scale(0.0, 2.0), "w")
    assert text.count("M") >= 3  # the ground line, and two pieces
    assert sparkline(np.array([np.nan]), look, Scale(0.0, 1.0), "w") == ""


def test_far_apart_values_are_drawn_on_logarithmic_scales() -> None:
    near, far = Scale.of([8.0, 16.0]), Scale.of([8.0, 800.0])
    np.testing.assert_allclose(near.share(np.array([8.0, 16.0, np.nan])), [0.5, 1.0, 0.0])
    low, middle, high = far.share(np.array([8.0, 80.0, 800.0]))
    assert low > 0.0
    assert middle - low == pytest.approx(high - middle)  # equal ratios, equal steps
    look = Look("#0072B2", "circle", "solid")
    rows = [Strip(f"p{v}", look, v, v, v, "", (v,)) for v in (8.0, 80.0, 800.0)]
    assert is_log(rows)
    assert not is_log([*rows, Strip("q", look, -1.0, -1.0, -1.0, "", ())])


def test_a_file_in_the_way_is_refused_and_nothing_is_left(run_dir, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match=r"mine\.txt: is a file"):
        write_report(run_dir, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_trials_without_the_axis_of_others_are_a_case_with_words(tmp_path) -> None:
    shape = Shape(policies=("tanbr",), seeds=(1, 2), slots=8, axes=({}, {"load": "0.5"}))
    page = write_report(write(tmp_path / "run", shape))
    assert "load = as in the scenario" in page.read_text()
    assert "None" not in page.read_text()
