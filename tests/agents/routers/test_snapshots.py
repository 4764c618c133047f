from __future__ import annotations

import numpy as np

from agents.routers.snapshots import below, flat


def test_parts_come_back_whole_even_when_one_name_begins_like_another():
    parts = {f"tree{row}": {"pulls": np.arange(row), "a.b": np.ones(1)} for row in (1, 10)}
    state = flat(parts)
    assert sorted(state) == ["tree1.a.b", "tree1.pulls", "tree10.a.b", "tree10.pulls"]
    for name, part in parts.items():
        found = below(state, name)
        assert found.keys() == part.keys()
        assert all(found[key] is part[key] for key in part)
