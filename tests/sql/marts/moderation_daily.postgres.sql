-- The mart moderation_daily once more, from the copies alone.
SELECT
    (submitted_at AT TIME ZONE '{tz}')::date AS submitted_on,
    rating,
    count(*) AS submitted_count,
    count(*) FILTER (WHERE moderation_status = 'approved') AS approved_count,
    count(*) FILTER (WHERE moderation_status = 'rejected') AS rejected_count,
    count(*) FILTER (WHERE moderation_status = 'pending') AS pending_count,
    count(*) FILTER (WHERE moderation_status NOT IN ('approved', 'rejected', 'pending')) AS other_count,
    count(*) FILTER (WHERE flags_count > 0) AS flagged_count,
    count(*) FILTER (WHERE moderation_status IN ('approved', 'rejected')) AS decided_count,
    (count(*) FILTER (WHERE moderation_status IN ('approved', 'rejected')) * 100)::double precision / count(*)
        AS decided_pct,
    (count(*) FILTER (WHERE moderation_status = 'rejected') * 100)::double precision
        / nullif(count(*) FILTER (WHERE moderation_status IN ('approved', 'rejected')), 0) AS reject_pct,
    min(submitted_at) FILTER (WHERE moderation_status = 'pending') AS oldest_pending_at,
    count(*) FILTER (WHERE decision_change_count > 0) AS overturned_count,
    count(decided_at) AS observed_decision_count,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY decision_s) AS p50_decision_s,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY decision_s) AS p95_decision_s,
    {moderation_queue_since} AS observed_since,
    (submitted_at AT TIME ZONE '{tz}')::date < date '{today}' AS is_complete
FROM [[review_facts]] AS facts
GROUP BY 1, 2
