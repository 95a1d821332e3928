-- The mart review_facts once more, from the copies alone: the versions of a review as one array.
WITH past AS (
    SELECT
        _id,
        min(_valid_from) AS first_seen,
        arraySort(groupArray((toUnixTimestamp64Micro(_valid_from), toString(assumeNotNull(moderation_status))))) AS v,
        arrayMap(one -> one.2 IN ('approved', 'rejected'), v) AS decided,
        arrayFilter(i -> i > 1 AND decided[i] = 1 AND decided[i - 1] = 0, arrayEnumerate(v)) AS decisions,
        arrayFilter(one -> one.2 IN ('approved', 'rejected'), v) AS verdicts,
        arrayCount(i -> i > 1 AND verdicts[i].2 != verdicts[i - 1].2, arrayEnumerate(verdicts)) AS others,
        if(empty(decisions) OR decided[1] = 1, NULL, intDiv(v[decisions[1]].1, 1000)) AS decided_ms
    FROM history.moderation_queue_versions
    GROUP BY _id
)
SELECT
    r._id AS _id,
    r.review_id AS review_id,
    r.user_id AS user_id,
    r.product_id AS product_id,
    r.rating AS rating,
    r.moderation_status AS moderation_status,
    toInt64(length(r.flags)) AS flags_count,
    r.submitted_at AS submitted_at,
    toDate32(r.submitted_at, '{tz}') AS submitted_on,
    toBool(r.moderation_status IN ('approved', 'rejected')) AS is_decided,
    if(is_decided, decided_ms, NULL) AS ms,
    fromUnixTimestamp64Milli(ms, 'UTC') AS decided_at,
    if(isNull(ms), NULL, greatest(ms - toUnixTimestamp64Milli(r.submitted_at), 0)) / 1000 AS decision_s,
    toInt64(others) AS decision_change_count,
    first_seen AS observed_since
FROM replica.moderation_queue AS r INNER JOIN past ON r._id = past._id
