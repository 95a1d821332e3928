-- The mart support_efficiency_daily once more, from the copies alone, without the mart ticket_resolution.
WITH ticket AS (
    SELECT
        (t.created_at AT TIME ZONE 'UTC')::date AS created_on,
        left(t.issue_type, 600) AS issue_type, -- what a key of PostgreSQL holds of a text of any length
        t.status,
        extract(epoch FROM min(m.sent_at) FILTER (WHERE m.sender = 'agent' AND m.sent_at >= t.created_at)
                - t.created_at) AS first_response_s,
        CASE WHEN t.status IN ('resolved', 'closed') THEN extract(epoch FROM t.updated_at - t.created_at) END
            AS resolution_s,
        count(m._id) AS written,
        count(*) FILTER (WHERE m.sender = 'agent') AS by_agent
    FROM replica.support_tickets t
    LEFT JOIN replica.support_tickets_messages m ON m._id = t._id
    GROUP BY t._id, t.created_at, t.updated_at, t.issue_type, t.status
)
SELECT
    created_on,
    issue_type,
    count(*) AS ticket_count,
    count(*) FILTER (WHERE status = 'open') AS status_open_count,
    count(*) FILTER (WHERE status = 'in_progress') AS status_in_progress_count,
    count(*) FILTER (WHERE status = 'waiting') AS status_waiting_count,
    count(*) FILTER (WHERE status = 'resolved') AS status_resolved_count,
    count(*) FILTER (WHERE status = 'closed') AS status_closed_count,
    count(*) FILTER (WHERE status NOT IN ('open', 'in_progress', 'waiting', 'resolved', 'closed'))
        AS status_other_count,
    count(first_response_s) AS answered_count,
    (count(first_response_s) * 100)::double precision / count(*) AS answered_pct,
    -- one division of doubles that hold integers, so the result is rounded once
    (sum(first_response_s) * 1000)::double precision / (count(first_response_s) * 1000) AS mean_first_response_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY first_response_s::double precision) AS median_first_response_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY first_response_s::double precision) AS p90_first_response_s,
    count(resolution_s) AS resolved_count,
    (count(resolution_s) * 100)::double precision / count(*) AS resolution_pct,
    (sum(resolution_s) * 1000)::double precision / (count(resolution_s) * 1000) AS mean_resolution_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY resolution_s::double precision) AS median_resolution_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY resolution_s::double precision) AS p90_resolution_s,
    count(resolution_s) FILTER (WHERE by_agent = 1) AS first_contact_resolved_count,
    (count(resolution_s) FILTER (WHERE by_agent = 1) * 100)::double precision / nullif(count(resolution_s), 0)
        AS first_contact_resolution_pct,
    sum(written)::bigint AS message_count,
    sum(by_agent)::bigint AS agent_message_count,
    sum(written)::double precision / count(*) AS mean_message_count
FROM ticket
GROUP BY created_on, issue_type
