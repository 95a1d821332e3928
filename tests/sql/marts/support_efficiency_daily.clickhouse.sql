-- The mart support_efficiency_daily once more, from the copies alone, without the mart ticket_resolution.
-- The quantiles are spelled out: quantileExactInclusive is the same quantile, but adds 1 to the position before it takes
-- the fraction off again, which costs it the last bit of some results.
WITH
    (sorted, level) -> (length(sorted) - 1) * level AS position,
    (sorted, level) -> sorted[toUInt64(floor(position(sorted, level))) + 1] AS below,
    (sorted, level) -> sorted[toUInt64(ceil(position(sorted, level))) + 1] AS above,
    (sorted, level) -> if(
        empty(sorted),
        NULL,
        below(sorted, level)
            + (position(sorted, level) - floor(position(sorted, level))) * (above(sorted, level) - below(sorted, level))
    ) AS percentile,
conversation AS (
    SELECT
        m._id AS _id,
        minIfOrNull(m.sent_at, m.sender = 'agent' AND m.sent_at >= t.created_at) AS response_at,
        count() AS written,
        countIf(m.sender = 'agent') AS by_agent
    FROM replica.support_tickets_messages AS m INNER JOIN replica.support_tickets AS t ON m._id = t._id
    GROUP BY m._id
),
ticket AS (
    SELECT
        toDate32(t.created_at, 'UTC') AS created_on,
        leftUTF8(t.issue_type, 600) AS issue_type, -- what a key of PostgreSQL holds of a text of any length
        t.status AS status,
        toUnixTimestamp64Milli(response_at) - toUnixTimestamp64Milli(t.created_at) AS response_ms,
        if(t.status IN ('resolved', 'closed'),
           toUnixTimestamp64Milli(t.updated_at) - toUnixTimestamp64Milli(t.created_at), NULL) AS resolution_ms,
        written,
        by_agent
    FROM replica.support_tickets AS t LEFT JOIN conversation ON t._id = conversation._id
),
day AS (
    SELECT
        created_on,
        issue_type,
        count() AS tickets,
        countIf(status = 'open') AS opened,
        countIf(status = 'in_progress') AS in_progress,
        countIf(status = 'waiting') AS waiting,
        countIf(status = 'resolved') AS resolved,
        countIf(status = 'closed') AS closed,
        count(response_ms) AS answered,
        count(resolution_ms) AS finished,
        countIf(isNotNull(resolution_ms) AND by_agent = 1) AS first_contact,
        sum(response_ms) AS all_response_ms,
        sum(resolution_ms) AS all_resolution_ms,
        arraySort(groupArray(response_ms / 1000)) AS responses,
        arraySort(groupArray(resolution_ms / 1000)) AS resolutions,
        sum(written) AS messages,
        sum(by_agent) AS agent_messages
    FROM ticket
    GROUP BY created_on, issue_type
)
SELECT
    created_on,
    issue_type,
    toInt64(tickets) AS ticket_count,
    toInt64(opened) AS status_open_count,
    toInt64(in_progress) AS status_in_progress_count,
    toInt64(waiting) AS status_waiting_count,
    toInt64(resolved) AS status_resolved_count,
    toInt64(closed) AS status_closed_count,
    toInt64(tickets - opened - in_progress - waiting - resolved - closed) AS status_other_count,
    toInt64(answered) AS answered_count,
    answered * 100 / tickets AS answered_pct,
    all_response_ms / nullIf(answered * 1000, 0) AS mean_first_response_s,
    percentile(responses, 0.5) AS median_first_response_s,
    percentile(responses, 0.9) AS p90_first_response_s,
    toInt64(finished) AS resolved_count,
    finished * 100 / tickets AS resolution_pct,
    all_resolution_ms / nullIf(finished * 1000, 0) AS mean_resolution_s,
    percentile(resolutions, 0.5) AS median_resolution_s,
    percentile(resolutions, 0.9) AS p90_resolution_s,
    toInt64(first_contact) AS first_contact_resolved_count,
    first_contact * 100 / nullIf(finished, 0) AS first_contact_resolution_pct,
    toInt64(messages) AS message_count,
    toInt64(agent_messages) AS agent_message_count,
    messages / tickets AS mean_message_count
FROM day
