-- The mart ticket_changes once more, from the versions alone: each is held against the one before it.
WITH version AS (
    SELECT
        *,
        status IN ('resolved', 'closed') AS is_solved,
        date_trunc('milliseconds', _valid_from) AS shown_at,
        lag(date_trunc('milliseconds', _valid_from)) OVER one AS before_at,
        lag(status IN ('resolved', 'closed')) OVER one AS was_solved,
        row_number() OVER one AS n,
        lead(_id) OVER one IS NULL AS is_last,
        min(_valid_from) OVER (PARTITION BY _id) AS observed_since
    FROM history.support_tickets_versions
    WINDOW one AS (PARTITION BY _id ORDER BY _valid_from)
),
change AS (
    SELECT _id, 0 AS n, 'created' AS change, created_at AS at, NULL AS basis FROM version WHERE is_last
    UNION ALL
    SELECT
        _id,
        n,
        CASE WHEN is_solved THEN 'solved' ELSE 'reopened' END,
        CASE WHEN n = 1 OR updated_at BETWEEN before_at AND shown_at THEN updated_at ELSE shown_at END,
        CASE WHEN n = 1 THEN 'proxy' ELSE 'observed' END
    FROM version WHERE is_solved <> coalesce(was_solved, false)
    UNION ALL
    SELECT _id, n + 1, 'deleted', date_trunc('milliseconds', _valid_to), 'observed'
    FROM version WHERE is_last AND _valid_to IS NOT NULL AND _removed AND NOT is_solved
)
SELECT
    change._id,
    row_number() OVER one AS number,
    ticket_id,
    issue_type,
    (created_at AT TIME ZONE '{tz}')::date AS opened_on,
    change,
    max(at) OVER one AS changed_at,
    (max(at) OVER one AT TIME ZONE '{tz}')::date AS changed_on,
    basis,
    observed_since
FROM change JOIN version ON version._id = change._id AND is_last
WINDOW one AS (PARTITION BY change._id ORDER BY change.n)
