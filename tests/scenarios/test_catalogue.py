"""The list of plug-ins, read from sources."""

from __future__ import annotations

import pytest

from scenarios.catalogue import catalogue, class_sources, is_oracle, registries

ROWS = {(row["kind"], row["name"]): row for row in catalogue()}


def test_every_row_of_every_registry_is_listed_with_a_sentence() -> None:
    assert set(ROWS) == {(r.kind, name) for r in registries() for name in r}
    undocumented = [key for key, row in ROWS.items() if not row["doc"].endswith((".", ")"))]
    assert undocumented == []


@pytest.mark.parametrize("kind", sorted(registries()[0]))
def test_the_oracle_mark_agrees_with_the_class(kind: str) -> None:
    pytest.importorskip("torch")
    assert is_oracle(kind) == registries()[0].load(kind).oracle


def test_an_unknown_row_is_no_oracle_and_a_missing_file_is_no_error() -> None:
    assert not is_oracle("nobody")
    assert class_sources("agents.nowhere.at_all:X") == []
    assert class_sources("agents.caches:Nothing") == []
