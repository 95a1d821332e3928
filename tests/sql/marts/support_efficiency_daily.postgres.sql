-- The mart support_efficiency_daily once more, from the copies alone, without the mart ticket_resolution.
WITH change AS MATERIALIZED (
    SELECT
        *,
        left(issue_type, 600) AS issue, -- what a key of PostgreSQL holds of a text of any length
        lead(changed_on) OVER (PARTITION BY _id ORDER BY number) AS left_on
    FROM [[ticket_changes]] AS changes
),
ticket AS (
    SELECT
        t._id,
        (t.created_at AT TIME ZONE '{tz}')::date AS created_on,
        left(t.issue_type, 600) AS issue_type,
        t.status,
        extract(epoch FROM min(m.sent_at) FILTER (WHERE m.sender = 'agent' AND m.sent_at >= t.created_at
                AND NOT (m.is_first AND m.sent_at = t.created_at)) - t.created_at) AS first_response_s,
        CASE WHEN t.status IN ('resolved', 'closed') THEN extract(epoch FROM (
            SELECT max(c.changed_at) FROM change c WHERE c._id = t._id AND c.change = 'solved'
        ) - t.created_at) END AS resolution_s,
        -- nobody waits for an answer from the moment on in which an agent opened it
        CASE WHEN NOT coalesce(bool_or(m.is_first AND m.sender = 'agent' AND m.sent_at = t.created_at), false)
            THEN extract(epoch FROM {as_of} - t.created_at) END AS age_s,
        CASE t.issue_type WHEN 'billing' THEN {sla_billing} ELSE {sla} END AS target_s,
        count(m._id) AS written,
        count(*) FILTER (WHERE m.sender = 'agent') AS by_agent,
        count(*) FILTER (WHERE m.sender = 'agent' AND NOT (m.is_first AND m.sent_at = t.created_at)) AS replies
    FROM replica.support_tickets t
    LEFT JOIN (
        SELECT *, row_number() OVER (PARTITION BY _id ORDER BY sent_at, _position) = 1 AS is_first
        FROM replica.support_tickets_messages
    ) m ON m._id = t._id
    GROUP BY t._id, t.created_at, t.updated_at, t.issue_type, t.status
),
cell AS (
    SELECT
        generate_series(min(changed_on)::timestamp, timestamp '{today}', '1 day')::date AS created_on,
        issue AS issue_type
    FROM change GROUP BY issue
    UNION
    SELECT changed_on, issue FROM change
),
stood AS (
    -- a ticket stands on each day from the one on which it came to the day before it left
    SELECT cell.created_on, cell.issue_type, cell.created_on - c.opened_on AS age
    FROM cell JOIN change c
        ON c.issue = cell.issue_type AND c.change IN ('created', 'reopened') AND c.changed_on <= cell.created_on
            AND (c.left_on IS NULL OR c.left_on > cell.created_on)
),
backlog AS (
    SELECT
        created_on,
        issue_type,
        count(*) AS backlog_count,
        count(*) FILTER (WHERE age = 0) AS backlog_under_1d_count,
        count(*) FILTER (WHERE age BETWEEN 1 AND 2) AS backlog_1d_to_3d_count,
        count(*) FILTER (WHERE age BETWEEN 3 AND 6) AS backlog_3d_to_7d_count,
        count(*) FILTER (WHERE age >= 7) AS backlog_over_7d_count
    FROM stood GROUP BY created_on, issue_type
),
turned AS (
    SELECT
        changed_on AS created_on,
        issue AS issue_type,
        count(*) FILTER (WHERE change = 'created') AS created_count,
        count(*) FILTER (WHERE change = 'solved') AS solved_count,
        count(*) FILTER (WHERE change = 'reopened') AS reopened_count,
        count(*) FILTER (WHERE change = 'deleted') AS deleted_count
    FROM change GROUP BY changed_on, issue
)
SELECT
    created_on,
    issue_type,
    count(_id) AS ticket_count,
    coalesce(min(created_count), 0) - count(_id) AS gone_count,
    coalesce(min(created_count), 0) AS created_count,
    coalesce(min(solved_count), 0) AS solved_count,
    CASE WHEN created_on >= date '{support_tickets_on}' THEN coalesce(min(reopened_count), 0) END AS reopened_count,
    CASE WHEN created_on >= date '{support_tickets_on}' THEN coalesce(min(deleted_count), 0) END AS deleted_count,
    coalesce(min(backlog_count), 0) AS backlog_count,
    coalesce(min(backlog_under_1d_count), 0) AS backlog_under_1d_count,
    coalesce(min(backlog_1d_to_3d_count), 0) AS backlog_1d_to_3d_count,
    coalesce(min(backlog_3d_to_7d_count), 0) AS backlog_3d_to_7d_count,
    coalesce(min(backlog_over_7d_count), 0) AS backlog_over_7d_count,
    CASE WHEN created_on >= date '{support_tickets_on}' THEN 'observed' ELSE 'proxy' END AS backlog_basis,
    {support_tickets_since} AS observed_since,
    count(*) FILTER (WHERE age_s >= 3600) AS eligible_1h_count,
    count(*) FILTER (WHERE age_s >= 3600 AND first_response_s <= 3600) AS replied_within_1h_count,
    count(*) FILTER (WHERE age_s >= 28800) AS eligible_8h_count,
    count(*) FILTER (WHERE age_s >= 28800 AND first_response_s <= 28800) AS replied_within_8h_count,
    count(*) FILTER (WHERE age_s >= 86400) AS eligible_24h_count,
    count(*) FILTER (WHERE age_s >= 86400 AND first_response_s <= 86400) AS replied_within_24h_count,
    CASE issue_type WHEN 'billing' THEN {sla_billing} ELSE {sla} END::double precision AS sla_target_s,
    count(*) FILTER (WHERE age_s >= target_s) AS sla_eligible_count,
    count(*) FILTER (WHERE age_s >= target_s AND first_response_s <= target_s) AS sla_met_count,
    (count(*) FILTER (WHERE age_s >= target_s AND first_response_s <= target_s) * 100)::double precision
        / nullif(count(*) FILTER (WHERE age_s >= target_s), 0) AS sla_met_pct,
    count(*) FILTER (WHERE status = 'open') AS status_open_count,
    count(*) FILTER (WHERE status = 'in_progress') AS status_in_progress_count,
    count(*) FILTER (WHERE status = 'waiting') AS status_waiting_count,
    count(*) FILTER (WHERE status = 'resolved') AS status_resolved_count,
    count(*) FILTER (WHERE status = 'closed') AS status_closed_count,
    count(*) FILTER (WHERE status NOT IN ('open', 'in_progress', 'waiting', 'resolved', 'closed'))
        AS status_other_count,
    count(first_response_s) AS answered_count,
    count(_id) - count(first_response_s) AS unanswered_count,
    (count(first_response_s) * 100)::double precision / nullif(count(_id), 0) AS answered_pct,
    -- one division of doubles that hold integers, so the result is rounded once
    (sum(first_response_s) * 1000)::double precision / (nullif(count(first_response_s), 0) * 1000)
        AS mean_first_response_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY first_response_s::double precision) AS median_first_response_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY first_response_s::double precision) AS p90_first_response_s,
    count(resolution_s) AS resolved_count,
    (count(resolution_s) * 100)::double precision / nullif(count(_id), 0) AS resolution_pct,
    (sum(resolution_s) * 1000)::double precision / (nullif(count(resolution_s), 0) * 1000) AS mean_resolution_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY resolution_s::double precision) AS median_resolution_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY resolution_s::double precision) AS p90_resolution_s,
    count(resolution_s) FILTER (WHERE replies = 1) AS first_contact_resolved_count,
    (count(resolution_s) FILTER (WHERE replies = 1) * 100)::double precision / nullif(count(resolution_s), 0)
        AS first_contact_resolution_pct,
    coalesce(sum(written), 0)::bigint AS message_count,
    coalesce(sum(by_agent), 0)::bigint AS agent_message_count,
    sum(written)::double precision / nullif(count(_id), 0) AS mean_message_count,
    created_on < date '{today}' AS is_complete
FROM cell
LEFT JOIN ticket USING (created_on, issue_type)
LEFT JOIN backlog USING (created_on, issue_type)
LEFT JOIN turned USING (created_on, issue_type)
GROUP BY created_on, issue_type
