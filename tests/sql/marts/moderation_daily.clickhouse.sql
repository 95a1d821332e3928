-- The mart moderation_daily once more, from the copies alone; its quantiles as support_efficiency_daily spells them out.
WITH
    (sorted, level) -> (length(sorted) - 1) * level AS position,
    (sorted, level) -> sorted[toUInt64(floor(position(sorted, level))) + 1] AS below,
    (sorted, level) -> sorted[toUInt64(ceil(position(sorted, level))) + 1] AS above,
    (sorted, level) -> if(
        empty(sorted),
        NULL,
        below(sorted, level)
            + (position(sorted, level) - floor(position(sorted, level))) * (above(sorted, level) - below(sorted, level))
    ) AS percentile
SELECT
    submitted_on,
    rating,
    toInt64(count()) AS submitted_count,
    toInt64(countIf(moderation_status = 'approved')) AS approved_count,
    toInt64(countIf(moderation_status = 'rejected')) AS rejected_count,
    toInt64(countIf(moderation_status = 'pending')) AS pending_count,
    submitted_count - approved_count - rejected_count - pending_count AS other_count,
    toInt64(countIf(flags_count > 0)) AS flagged_count,
    approved_count + rejected_count AS decided_count,
    decided_count * 100 / submitted_count AS decided_pct,
    rejected_count * 100 / nullIf(decided_count, 0) AS reject_pct,
    minIfOrNull(submitted_at, moderation_status = 'pending') AS oldest_pending_at,
    toInt64(countIf(decision_change_count > 0)) AS overturned_count,
    toInt64(count(decided_at)) AS observed_decision_count,
    arraySort(groupArray(decision_s)) AS took,
    percentile(took, 0.5) AS p50_decision_s,
    percentile(took, 0.95) AS p95_decision_s,
    {moderation_queue_since} AS observed_since,
    toBool(submitted_on < toDate32('{today}')) AS is_complete
FROM [[review_facts]]
GROUP BY submitted_on, rating
