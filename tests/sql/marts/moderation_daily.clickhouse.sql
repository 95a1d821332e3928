-- The mart moderation_daily once more, from the copies alone.
SELECT
    toDate32(submitted_at, '{tz}') AS submitted_on,
    rating,
    toInt64(count()) AS submitted_count,
    toInt64(countIf(moderation_status = 'approved')) AS approved_count,
    toInt64(countIf(moderation_status = 'rejected')) AS rejected_count,
    toInt64(countIf(moderation_status = 'pending')) AS pending_count,
    submitted_count - approved_count - rejected_count - pending_count AS other_count,
    toInt64(countIf(notEmpty(flags))) AS flagged_count,
    approved_count + rejected_count AS decided_count,
    decided_count * 100 / submitted_count AS decided_pct,
    rejected_count * 100 / nullIf(decided_count, 0) AS reject_pct,
    minIfOrNull(submitted_at, moderation_status = 'pending') AS oldest_pending_at,
    toInt64(0) AS observed_decision_count,
    CAST(NULL, 'Nullable(Float64)') AS p50_decision_s,
    CAST(NULL, 'Nullable(Float64)') AS p95_decision_s,
    toBool(submitted_on < toDate32('{today}')) AS is_complete
FROM replica.moderation_queue
GROUP BY submitted_on, rating
