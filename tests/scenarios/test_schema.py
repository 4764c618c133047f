"""The schema: the committed file is fresh and agrees with the loader; words and assertions."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scenarios import loader, yaml_marks
from scenarios.schema import SCHEMA_FILE, Scenario, json_schema, schema_text
from scenarios.schema_policy import METRICS, Assertion, read_assertion
from scenarios.schema_types import Words


def all_models(model=Words):
    for child in model.__subclasses__():
        yield child
        yield from all_models(child)


def test_the_committed_schema_is_fresh():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "stale: run python -m scenarios.schema"
    )


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    json.loads(schema_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("name", loader.bundled())
def test_bundled_files_satisfy_the_schema(name):
    text = loader.bundled()[name].read_text(encoding="utf-8")
    jsonschema.validate(yaml_marks.parse(text, name).data, json_schema())


@pytest.mark.parametrize("name", loader.bundled())
def test_resolved_files_satisfy_the_schema(name):
    jsonschema.validate(loader.load(name).words(), json_schema())


def test_the_schema_refuses_what_the_loader_refuses():
    data = loader.load("quickstart").words()
    for change in ({"nodse": 1}, {"duration": 5}, {"load": 0}, {"nodes": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**data, **change}, json_schema())
        with pytest.raises(ValidationError):
            Scenario.model_validate({**data, **change})


def test_every_word_is_documented():
    bare = [
        f"{model.__name__}.{name}"
        for model in all_models()
        for name, info in model.model_fields.items()
        if not info.description and name != "kind"
    ]
    assert bare == []


def test_every_quantity_ends_in_its_unit():
    units = ("_s", "_bytes", "_bytes_per_s", "_per_s", "_flop_per_s", "_w")
    pure = {"load", "fraction", "share", "sample", "alpha", "cv", "capacity", "bytes_per_param"}
    pure |= {"job_share", "loss", "factor", "amplitude", "branching", "beta", "bytes_per_token"}
    pure |= {"value"}  # of a reward
    pure |= {"expert_params", "backbone_params", "embedding_params", "tokens_per_request"}
    wrong = [
        f"{model.__name__}.{name}"
        for model in all_models()
        for name, info in model.model_fields.items()
        if info.annotation in (float, float | None) and name not in pure
        if not name.endswith(units)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "assertion", "written"),
    [
        ("p99_latency <= 200 ms", Assertion("p99_latency", "<=", 0.2), "p99_latency <= 200 ms"),
        ("accuracy>=60 %", Assertion("accuracy", ">=", 0.6), "accuracy >= 0.6"),
        ("drops <= 1 %", Assertion("drops", "<=", 0.01), "drops <= 0.01"),
        ("  regret < 12.5 ", Assertion("regret", "<", 12.5), "regret < 12.5"),
        ("useful_per_s > 10 /s", Assertion("useful_per_s", ">", 10.0), "useful_per_s > 10 /s"),
        ("peak_memory <= 4 GiB", Assertion("peak_memory", "<=", 2.0**32), "peak_memory <= 4 GiB"),
        ("stable", Assertion("stable", ">=", 1.0), "stable"),
    ],
)
def test_reads_assertions(text, assertion, written):
    assert read_assertion(text) == assertion
    assert str(assertion) == written
    assert read_assertion(written) == assertion


def test_assertions_hold_or_not():
    limit = Assertion("p99_latency", "<=", 0.2)
    assert limit.holds(0.2)
    assert not limit.holds(0.3)
    assert not limit.holds(float("nan"))
    assert Assertion("stable", ">=", 1.0).holds(True)
    assert not Assertion("stable", ">=", 1.0).holds(False)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(set(METRICS) - {"stable"})),
    st.sampled_from(["<=", ">=", "<", ">"]),
    st.floats(0, 1),
)
def test_assertions_survive_the_round_trip(metric, op, limit):
    assertion = Assertion(metric, op, limit)
    assert read_assertion(str(assertion)) == assertion
