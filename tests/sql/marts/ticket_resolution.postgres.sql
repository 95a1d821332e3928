-- The mart ticket_resolution once more, from the copies alone: the messages are looked up ticket by ticket.
WITH past AS (
    SELECT
        _id,
        min(observed_since) AS observed_since,
        max(changed_at) FILTER (WHERE change = 'solved') AS solved_at,
        (array_agg(basis ORDER BY number DESC) FILTER (WHERE change = 'solved'))[1] AS basis,
        count(*) FILTER (WHERE change = 'reopened') AS reopened
    FROM [[ticket_changes]] AS changes
    GROUP BY _id
),
ticket AS (
    SELECT
        t.*,
        answered_at[1 + opened::int] AS first_response_at, -- the message that opens it is the first of all
        opened,
        answered_at,
        basis,
        reopened,
        observed_since,
        written,
        by_user,
        by_agent,
        CASE WHEN status IN ('resolved', 'closed') THEN solved_at END AS resolved_at,
        (
            SELECT min(m.sent_at) FROM replica.support_tickets_messages m
            WHERE m._id = t._id AND m.sender = 'user' AND NOT EXISTS (
                SELECT 1 FROM replica.support_tickets_messages a
                WHERE a._id = t._id AND a.sender = 'agent' AND a.sent_at >= t.created_at
                    AND (a.sent_at, a._position) > (m.sent_at, m._position)
            )
        ) AS asked_at
    FROM replica.support_tickets t
    JOIN past USING (_id)
    CROSS JOIN LATERAL (
        SELECT
            array_agg(m.sent_at ORDER BY m.sent_at) FILTER (WHERE m.sender = 'agent' AND m.sent_at >= t.created_at)
                AS answered_at,
            coalesce(
                (array_agg(m.sender = 'agent' AND m.sent_at = t.created_at ORDER BY m.sent_at, m._position))[1], false
            ) AS opened,
            count(*) AS written,
            count(*) FILTER (WHERE m.sender = 'user') AS by_user,
            count(*) FILTER (WHERE m.sender = 'agent') AS by_agent
        FROM replica.support_tickets_messages m
        WHERE m._id = t._id
    ) AS conversation
)
SELECT
    _id,
    ticket_id,
    user_id,
    status,
    issue_type,
    created_at,
    first_response_at,
    resolved_at,
    CASE WHEN resolved_at IS NOT NULL THEN basis END AS resolution_basis,
    reopened AS reopen_count,
    observed_since,
    CASE WHEN resolved_at IS NULL THEN CASE WHEN answered_at IS NULL THEN created_at ELSE asked_at END END
        AS waiting_since,
    CASE WHEN resolved_at IS NULL THEN extract(epoch FROM {as_of} - created_at)::double precision END AS age_s,
    -- extract() of an interval is an exact numeric, rounded once when it becomes a double
    extract(epoch FROM first_response_at - created_at)::double precision AS first_response_s,
    extract(epoch FROM resolved_at - created_at)::double precision AS resolution_s,
    written AS message_count,
    by_user AS user_message_count,
    by_agent AS agent_message_count,
    opened AS is_opened_by_agent,
    first_response_at IS NOT NULL AS is_answered,
    resolved_at IS NOT NULL AS is_resolved,
    resolved_at IS NOT NULL AND by_agent - opened::int = 1 AS is_first_contact_resolved
FROM ticket
