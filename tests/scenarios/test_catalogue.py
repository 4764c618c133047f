"""The list of plug-ins, read from sources."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scenarios.catalogue import (
    catalogue,
    class_sources,
    is_gated,
    is_oracle,
    parameters,
    registries,
)

ROWS = {(row["kind"], row["name"]): row for row in catalogue()}


def test_every_row_of_every_registry_is_listed_with_a_sentence() -> None:
    assert set(ROWS) == {(r.kind, name) for r in registries() for name in r}
    undocumented = [key for key, row in ROWS.items() if not row["doc"].endswith((".", ")"))]
    assert undocumented == []


@pytest.mark.parametrize("kind", sorted(registries()[0]))
def test_the_oracle_mark_agrees_with_the_class(kind: str) -> None:
    pytest.importorskip("torch")
    assert is_oracle(kind) == registries()[0].load(kind).oracle


@pytest.mark.parametrize("kind", sorted(registries()[0]))
def test_what_is_read_from_the_source_is_what_the_class_says(kind: str) -> None:
    pytest.importorskip("torch")
    router = registries()[0].load(kind)
    assert is_gated(kind) == getattr(router, "gated", False)
    assert parameters(kind) == getattr(router, "parameters", "")


def test_a_check_of_parameters_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from scenarios.catalogue import parameters, registries\n"
        "for kind in registries()[0]:\n"
        "    module, _, name = parameters(kind).partition(':')\n"
        "    assert not module or getattr(import_module(module), name)()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_row_is_no_oracle_and_a_missing_file_is_no_error() -> None:
    assert not is_oracle("nobody")
    assert class_sources("agents.nowhere.at_all:X") == []
    assert class_sources("agents.caches:Nothing") == []
