-- The mart review_facts once more, from the copies alone: each version is held against the one before it.
WITH version AS (
    SELECT
        _id,
        _valid_from,
        moderation_status AS status,
        moderation_status IN ('approved', 'rejected') AS decided,
        lag(moderation_status IN ('approved', 'rejected')) OVER (PARTITION BY _id ORDER BY _valid_from) AS was_decided
    FROM history.moderation_queue_versions
),
verdict AS (
    SELECT _id, status <> lag(status) OVER (PARTITION BY _id ORDER BY _valid_from) AS is_other
    FROM version WHERE decided
),
past AS (
    SELECT
        _id,
        min(_valid_from) AS observed_since,
        CASE WHEN NOT (array_agg(decided ORDER BY _valid_from))[1] THEN
            min(date_trunc('milliseconds', _valid_from)) FILTER (WHERE decided AND NOT was_decided)
        END AS first_at
    FROM version GROUP BY _id
)
SELECT
    r._id,
    review_id,
    user_id,
    product_id,
    rating,
    moderation_status,
    cardinality(flags)::bigint AS flags_count,
    submitted_at,
    (submitted_at AT TIME ZONE '{tz}')::date AS submitted_on,
    moderation_status IN ('approved', 'rejected') AS is_decided,
    decided_at,
    CASE WHEN decided_at < submitted_at THEN 0 ELSE extract(epoch FROM decided_at - submitted_at)::double precision END
        AS decision_s,
    (SELECT count(*) FROM verdict WHERE verdict._id = r._id AND is_other) AS decision_change_count,
    observed_since
FROM replica.moderation_queue r
JOIN past USING (_id)
CROSS JOIN LATERAL (
    SELECT CASE WHEN moderation_status IN ('approved', 'rejected') THEN first_at END AS decided_at
) AS decision
