"""Queries that break a run down: by stream and priority, by link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.outcomes import stream_ids
from analysis.queries import are_sampled, by_policy
from analysis.totals import ends, parted, stream_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.load import Run, Trial

_LATENCY = "(t_return_s - t_emit_s)"
_IN_TIME = f"(isfinite(t_return_s) AND {_LATENCY} <= deadline_s)"
_MISSED = f"(drop IS NOT NULL OR (isfinite(deadline_s) AND NOT {_IN_TIME}))"

# key of a row -> what `stream_facts` calls it
_FACTS = {
    "n": "requests",
    "dropped": "drop_share",
    "missed": "deadline_miss",
    "p50": "latency_p50_s",
    "p99": "latency_p99_s",
    "accuracy": "accuracy",
}


def by_stream(run: Run, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return a row per stream, priority and policy, pooled over seeds; streams in file order.

    Keys: stream, priority, policy, n, dropped, missed (shares of n), p50, p99 (s, of the returned,
    NaN where none), accuracy (of the scored). All requests count, also where some have no rows.
    """
    if are_sampled(trials):
        return _from_totals(trials)
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


def _from_totals(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    place = {label: i for i, label in enumerate(stream_ids(trials[0].meta))}
    rows = []
    for policy, mine in by_policy(trials).items():
        parts = parted(ends(trial.meta for trial in mine), "stream", "priority")
        for (stream, priority), found in parts.items():
            if stream not in place:
                continue  # more streams than are told apart
            facts = stream_facts(found)
            row = {"stream": stream, "priority": priority, "policy": policy}
            rows.append(row | {key: facts[fact] for key, fact in _FACTS.items()})
    return sorted(rows, key=lambda r: (place[r["stream"]], -r["priority"], r["policy"]))


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
