"""Whether all left the same: each one's tables are put into one form by SQL, then counted and summed there.

The sum is of PostgreSQL's own hash of each row, so the order of rows is of no account, and jsonb values are equal when
they mean the same. What our copy holds is proven against MongoDB by ``etl verify``: who equals it equals MongoDB.
"""

from contextlib import closing
from typing import Any

from benchmarks.contenders import CONTENDERS, Job
from pipeline.stores.postgres.store import Postgres

# Per dialect and collection: a query with one row per document, by the names that `_SCALARS` and `_NESTED` have.
_PAGES = (
    "(SELECT string_agg(value, '|' ORDER BY place) FROM jsonb_array_elements_text({0}) WITH ORDINALITY p(value, place))"
)
_ACTIONS = (
    "(SELECT string_agg(concat_ws(',', value->>'type', value->>'target', "
    "extract(epoch FROM coalesce(value->'at'->>'$date', value->>'at')::timestamptz)::numeric(20,3)), '|' "
    "ORDER BY place) FROM jsonb_array_elements({0}) WITH ORDINALITY a(value, place))"
)


def _sessions(document: str) -> str:
    """Return the form of sessions whose nested values are JSON."""
    names = ("session_id", "user_id", "start_time", "end_time", "pages_visited", "device", "actions")
    field = {name: document.format(name) for name in names}
    return (
        f"SELECT {field['session_id']} AS session_id, {field['user_id']} AS user_id, "
        f"{field['start_time']} AS start_time, {field['end_time']} AS end_time, "
        + "".join(f"({field['device']})::jsonb->>'{name}' AS device_{name}, " for name in ("type", "os", "browser"))
        + f"{_PAGES.format('(' + field['pages_visited'] + ')::jsonb')} AS pages, "
        f"{_ACTIONS.format('(' + field['actions'] + ')::jsonb')} AS actions FROM {{schema}}.user_sessions"
    )


_OURS = (
    "SELECT session_id, user_id, start_time, end_time, device_type, device_os, device_browser, "
    "array_to_string(pages_visited, '|') AS pages, (SELECT string_agg(concat_ws(',', a.type, a.target, "
    "extract(epoch FROM a.at)::numeric(20,3)), '|' ORDER BY a._position) "
    "FROM replica.user_sessions_actions a WHERE a._id = s._id) AS actions FROM replica.user_sessions s"
)
# Joined, not looked up row by row: dlt's child tables have no index on the parent.
_DLT_CHILDREN = (
    "SELECT session_id, user_id, start_time, end_time, device__type AS device_type, device__os AS device_os, "
    "device__browser AS device_browser, pages, actions FROM {schema}.user_sessions s "
    "LEFT JOIN (SELECT _dlt_parent_id AS parent, string_agg(value, '|' ORDER BY _dlt_list_idx) AS pages "
    "FROM {schema}.user_sessions__pages_visited GROUP BY 1) p ON p.parent = s._dlt_id "
    "LEFT JOIN (SELECT _dlt_parent_id AS parent, string_agg(concat_ws(',', type, target, "
    "extract(epoch FROM at)::numeric(20,3)), '|' ORDER BY _dlt_list_idx) AS actions "
    "FROM {schema}.user_sessions__actions GROUP BY 1) a ON a.parent = s._dlt_id"
)


def _events(table: str, document: str, details: str) -> str:
    """Return the form of events: what the generator makes of dates and ids in ``details`` is read as such.

    We keep their types (``{"$date": ...}``), the others write them as any text.
    """
    plain = f"{details} - '{{{{captured_at,birthday,order}}}}'::text[]"
    order = f"coalesce({details}->'order'->>'$oid', {details}->>'order')"
    read = f"jsonb_build_array({plain}, {_moment(details, 'captured_at')}, {_moment(details, 'birthday')}, {order})"
    key, moment, kind = (document.format(name) for name in ("event_id", "timestamp", "event_type"))
    return (
        f"SELECT {key} AS event_id, {moment}::timestamptz AS timestamp, {kind} AS event_type, {read} AS details "
        f"FROM {table}"
    )


def _moment(details: str, name: str) -> str:
    value = f"{details}->'{name}'"
    return (
        f"extract(epoch FROM CASE WHEN {value}->'$date'->'$numberLong' IS NOT NULL "
        f"THEN to_timestamp(({value}->'$date'->>'$numberLong')::numeric / 1000) "
        f"ELSE coalesce({value}->>'$date', {details}->>'{name}')::timestamptz END)"
    )


FORMS: dict[str, dict[str, str]] = {
    "UserSessions": {
        "etl": _OURS,
        "documents": _sessions("{0}"),
        "sling": _sessions("data->>'{0}'")
        .replace("data->>'start_time'", "(data->>'start_time')::timestamptz")
        .replace("data->>'end_time'", "(data->>'end_time')::timestamptz"),
        "dlt_objects": _DLT_CHILDREN,
    },
    "EventLogs": {
        "etl": _events("replica.event_logs", "{}", "details"),
        "documents": _events("{schema}.event_logs", "{}", "details::jsonb"),
        "sling": _events("{schema}.event_logs", "(data->>'{}')", "(data->'details')"),
        # Flattened into some forty columns and child tables: only the declared fields are compared.
        "dlt_objects": "SELECT event_id, timestamp, event_type, NULL::jsonb AS details FROM {schema}.event_logs",
    },
}
_SCALARS = {
    "UserSessions": "session_id, user_id, start_time, end_time, device_type, device_os, device_browser",
    "EventLogs": "event_id, timestamp, event_type",
}
_NESTED = {"UserSessions": "session_id, pages, actions", "EventLogs": "event_id, details"}


def summed(name: str, job: Job) -> dict[str, Any]:
    """Return rows and checksums of what a contender has left in PostgreSQL.

    Args:
        name: The contender.
        job: What it did.

    Returns:
        ``rows``, ``scalars`` (declared fields without the nested ones), ``nested`` (the key and the nested fields);
        or ``error``, if what is there can't be put into the common form.
    """
    lands = CONTENDERS[name].lands
    assert lands is not None
    form = FORMS[job.collection][lands].format(schema=job.schema)
    query = (
        f"SELECT count(*)::text, coalesce(sum(scalars), 0)::text, coalesce(sum(nested), 0)::text FROM (SELECT "
        f"hash_record_extended(ROW({_SCALARS[job.collection]}), 0)::numeric AS scalars, "
        f"hash_record_extended(ROW({_NESTED[job.collection]}), 0)::numeric AS nested FROM ({form}) f) h"
    )
    with closing(Postgres(job.uris.postgres)) as postgres:
        try:
            rows, scalars, nested = postgres.rows(query)[0]
        except Exception as error:  # whatever is in the way is the answer
            return {"error": str(error)[:300]}
    return {"rows": int(rows), "scalars": scalars, "nested": nested}
