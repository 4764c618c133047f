"""Queries that break a run down: by stream and priority, by link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.outcomes import stream_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.load import Run, Trial

_LATENCY = "(t_return_s - t_emit_s)"
_IN_TIME = f"(isfinite(t_return_s) AND {_LATENCY} <= deadline_s)"
_MISSED = f"(drop IS NOT NULL OR (isfinite(deadline_s) AND NOT {_IN_TIME}))"


def by_stream(run: Run, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return a row per stream, priority and policy, pooled over seeds; streams in file order.

    Keys: stream, priority, policy, n, dropped, missed (shares of n), p50, p99 (s, of the returned,
    NaN where none), accuracy (of the scored).
    """
    labels = stream_ids(trials[0].meta)
    ids = [i for mine in labels.values() for i in mine]
    names = [label for label, mine in labels.items() for _ in mine]
    sql = (
        f"SELECT label AS stream, priority, policy, count(*) AS n, "
        f"avg(CAST(drop IS NOT NULL AS DOUBLE)) AS dropped, "
        f"avg(CAST({_MISSED} AS DOUBLE)) AS missed, "
        f"quantile_cont({_LATENCY}, 0.5) FILTER (WHERE isfinite(t_return_s)) AS p50, "
        f"quantile_cont({_LATENCY}, 0.99) FILTER (WHERE isfinite(t_return_s)) AS p99, "
        f"avg(correct) FILTER (WHERE correct >= 0) AS accuracy "
        f"FROM t JOIN (SELECT unnest(?) AS trial, unnest(?) AS policy) USING (trial) "
        f"JOIN (SELECT unnest(?) AS stream, unnest(?) AS label, unnest(?) AS place) USING (stream) "
        f"GROUP BY label, priority, policy ORDER BY min(place), priority DESC, policy"
    )
    given = [[trial.id for trial in trials], [trial.policy for trial in trials]]
    order = [list(labels).index(name) for name in names]
    table = run.select("requests", given[0], sql, [*given, ids, names, order])
    return [{k: v[i] for k, v in table.items()} for i in range(len(table["n"]))]


def by_link(run: Run, trial: Trial, most: int = 12) -> list[dict[str, Any]]:
    """Return the links of a trial that lost or carried the most, those that lost more first.

    Keys: link, sent (bytes), busy (s), lost (tries).
    """
    if not run.has("links", [trial.id]):
        return []
    sql = (
        "SELECT link, sum(sent_bytes) AS sent, sum(busy_s) AS busy, "
        "CAST(sum(lost) AS BIGINT) AS lost FROM t GROUP BY link "
        f"ORDER BY lost DESC, busy DESC, sent DESC, link LIMIT {int(most)}"
    )
    table = run.select("links", [trial.id], sql)
    return [{k: v[i] for k, v in table.items()} for i in range(len(table["link"]))]
