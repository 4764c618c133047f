"""Strict YAML: what scalars mean, what is refused, and that poison is refused at once."""

from __future__ import annotations

import os
import signal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import yaml_marks
from scenarios.problems import Mark, ScenarioError
from scenarios.yaml_marks import parse, read_text, scalar


def refusal(text):
    with pytest.raises(ScenarioError) as caught:
        parse(text, "x.yaml")
    return str(caught.value)


def outcome(text):
    """Return what parsing comes to: the file's name, or the refusal."""
    try:
        return parse(text, "x.yaml").file
    except ScenarioError as error:
        return str(error)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("-3", -3),
        ("1e6", 1e6),
        ("1.5", 1.5),
        (".5", 0.5),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("9" * 65, "9" * 65),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_keep_text():
    assert parse("a: '5'\nb: \"true\"\nc: |\n  7\n", "x").data == {
        "a": "5",
        "b": "true",
        "c": "7\n",
    }


def test_keys_are_text():
    assert parse("on: 1\n2: x\n", "x").data == {"on": 1, "2": "x"}


def test_every_part_has_a_mark():
    document = parse("a:\n  - {b: 1}\n  - two\n", "x")
    assert document.keys[("a",)] == Mark(1, 1)
    assert document.keys[("a", 0, "b")] == Mark(2, 6)
    assert document.values[("a", 0, "b")] == Mark(2, 9)
    assert document.values[("a", 1)] == Mark(3, 5)
    assert document.mark(("a", 0, "missing", "deep")) == Mark(2, 5)


def test_an_alias_is_a_copy():
    document = parse("a: &x {b: [1]}\nc: *x\n", "x")
    document.data["c"]["b"].append(2)
    assert document.data == {"a": {"b": [1]}, "c": {"b": [1, 2]}}


def test_duplicate_keys_name_both_lines_and_the_first_counts():
    document = parse("a: 1\nb:\n  c: 1\n  c: {d: 2}\na: 3\n", "x.yaml")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert [p.headline for p in document.problems] == [
        "x.yaml:4:3: b.c: duplicate key (first on line 3)",
        "x.yaml:5:1: a: duplicate key (first on line 1)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\n\tb: 2\n", "x.yaml:2:1: a tab in the indentation; YAML wants spaces"),
        ("a: \x00", "x.yaml:1:4: character U+0000 is not allowed in a scenario"),
        ("a: \x1b[31m", "x.yaml:1:4: character U+001B is not allowed in a scenario"),
        ("\ufeffa: 1", "x.yaml:1:1: character U+FEFF is not allowed in a scenario"),
        ("a: !!python/object:os.system x", "x.yaml:1:4: tag 'tag:yaml.org,2002:python/object:os.s"),
        ("a: !!int 5", "x.yaml:1:4: tag 'tag:yaml.org,2002:int' is not allowed"),
        ("--- 1\n--- 2\n", "x.yaml:2:1: a second document; a file holds one scenario"),
        ("a: *b", "x.yaml:1:4: alias '*b' names no anchor, or one that contains it"),
        ("a: &b [*b]", "x.yaml:1:8: alias '*b' names no anchor, or one that contains it"),
        ("? [a]\n: b", "x.yaml:1:3: a key must be plain text"),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed"),
        ("a: [1", "x.yaml:"),
    ],
)
def test_refuses(text, said):
    message = refusal(text)
    assert said in message
    assert "Traceback" not in message


def test_a_caret_points_at_the_place():
    assert refusal("a: @x").splitlines()[1:] == ["    a: @x", "       ^"]


def test_long_lines_are_cut_around_the_caret():
    lines = refusal("a: [" + "b, " * 500 + "@x]").splitlines()
    assert len(lines[1]) <= 100
    assert lines[1][lines[2].index("^")] == "@"


POISON = {
    "deep lists": "[" * 300_000,
    "deep mappings": "{a: " * 200_000,
    "deep sequences": "- " * 200_000,
    "laughs": "a0: &a0 [x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)),
    "many aliases": "a: &a x\nb: [" + "*a, " * 100_000 + "]",
    "many values": "a: [" + "1," * 400_000 + "]",
    "many keys": "k: v\n" * 150_000,
    "many documents": "---\n" * 200_000,
    "open quotes": "a: 'b\n" * 100_000,
    "long number": "a: " + "9" * 1_000_000,
    "one big text": "a: " + "y" * 1_000_000,
    "one big comment": "# " + "c" * 1_000_000,
    "anchors": "".join(f"k{i}: &k{i} x\n" for i in range(60_000)),
    "flow": "{" + "a, " * 200_000,
    "colons": ":" * 500_000,
    "dashes": "-" * 900_000,
}


@pytest.mark.parametrize("text", POISON.values(), ids=POISON)
def test_poison_ends_with_a_short_answer(text, no_hanging):
    assert len(outcome(text)) < 10_000


@pytest.fixture
def no_hanging():
    """Kill a parser that never ends; how fast it ends is the benchmarks' business."""

    def hangs(_number, _frame):
        pytest.fail("still parsing after a minute")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def file_refusal(path):
    with pytest.raises(ScenarioError) as caught:
        read_text(str(path), "x.yaml")
    return str(caught.value)


def test_reads_only_small_regular_utf8_files(tmp_path):
    def written(raw):
        (tmp_path / "x").write_bytes(raw)
        return tmp_path / "x"

    small = "x.yaml: larger than 1 MiB; a scenario is a small YAML file"
    assert file_refusal(written(b"#" * (yaml_marks.MAX_BYTES + 1))) == small
    assert (
        file_refusal(written("a: 1".encode("utf-16")))
        == "x.yaml: encoded as UTF-16; save it as UTF-8"
    )
    bom = "x.yaml: starts with a byte-order mark; save it as UTF-8 without BOM"
    assert file_refusal(written(b"\xef\xbb\xbfa: 1")) == bom
    assert file_refusal(written(b"a: 1\nb: \xe4")) == "x.yaml:2:4: byte 0xe4 is not UTF-8"
    assert read_text(str(written("a: é".encode())), "x") == "a: é"


def test_refuses_what_is_no_file_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    irregular = "x.yaml: not a regular file; a scenario is a small YAML file"
    assert file_refusal(tmp_path / "fifo") == irregular
    assert file_refusal(tmp_path) == irregular
    assert file_refusal("/dev/zero") == irregular
    assert file_refusal(tmp_path / "none") == "x.yaml: cannot read it: No such file or directory"


def test_sparse_giant_is_refused_by_its_size(tmp_path):
    with (tmp_path / "giant").open("wb") as stream:
        stream.truncate(64 << 30)
    assert "larger than 1 MiB" in file_refusal(tmp_path / "giant")


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text("abc :#-'\"é", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain)
def test_reads_what_pyyaml_writes(data):
    assert parse(yaml.safe_dump(data, allow_unicode=True), "x").data == data


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_data_or_a_scenario_error(text):
    assert outcome(text).startswith("x.yaml")
