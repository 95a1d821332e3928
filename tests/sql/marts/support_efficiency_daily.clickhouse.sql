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
change AS (
    SELECT
        _id,
        leftUTF8(issue_type, 600) AS issue, -- what a key of PostgreSQL holds of a text of any length
        opened_on,
        arraySort(groupArray((number, change, changed_on, changed_at))) AS all
    FROM [[ticket_changes]]
    GROUP BY _id, issue_type, opened_on
),
solution AS (
    SELECT _id, arrayFilter(c -> c.2 = 'solved', all)[-1].4 AS solved_at FROM change
),
conversation AS (
    SELECT
        m._id AS _id,
        arraySort(groupArrayIf(m.sent_at, m.sender = 'agent' AND m.sent_at >= t.created_at)) AS answered_at,
        ifNull(argMin(m.sender = 'agent' AND m.sent_at = t.created_at, (m.sent_at, m._position)), 0) AS opened,
        if(length(answered_at) > opened, toNullable(answered_at[1 + opened]), NULL) AS response_at,
        count() AS written,
        countIf(m.sender = 'agent') AS by_agent
    FROM replica.support_tickets_messages AS m INNER JOIN replica.support_tickets AS t ON m._id = t._id
    GROUP BY m._id
),
ticket AS (
    SELECT
        toDate32(t.created_at, '{tz}') AS created_on,
        -- nobody waits for an answer from the moment on in which an agent opened it
        if(opened = 1, NULL, toUnixTimestamp64Milli({as_of}) - toUnixTimestamp64Milli(t.created_at)) AS age_ms,
        toInt64(if(t.issue_type = 'billing', {sla_billing}, {sla})) * 1000 AS target_ms,
        leftUTF8(toString(t.issue_type), 600) AS issue_type,
        t.status AS status,
        toUnixTimestamp64Milli(response_at) - toUnixTimestamp64Milli(t.created_at) AS response_ms,
        if(t.status IN ('resolved', 'closed'),
           toUnixTimestamp64Milli(solved_at) - toUnixTimestamp64Milli(t.created_at), NULL) AS resolution_ms,
        written,
        by_agent,
        by_agent - opened AS replies
    FROM replica.support_tickets AS t
    INNER JOIN solution ON t._id = solution._id
    LEFT JOIN conversation ON t._id = conversation._id
),
day AS (
    SELECT
        created_on,
        issue_type,
        count() AS tickets,
        countIf(age_ms >= 3600000) AS eligible_1h,
        countIf(age_ms >= 3600000 AND response_ms <= 3600000) AS replied_1h,
        countIf(age_ms >= 28800000) AS eligible_8h,
        countIf(age_ms >= 28800000 AND response_ms <= 28800000) AS replied_8h,
        countIf(age_ms >= 86400000) AS eligible_24h,
        countIf(age_ms >= 86400000 AND response_ms <= 86400000) AS replied_24h,
        countIf(age_ms >= target_ms) AS due,
        countIf(age_ms >= target_ms AND response_ms <= target_ms) AS kept,
        countIf(status = 'open') AS opened,
        countIf(status = 'in_progress') AS in_progress,
        countIf(status = 'waiting') AS waiting,
        countIf(status = 'resolved') AS resolved,
        countIf(status = 'closed') AS closed,
        count(response_ms) AS answered,
        count(resolution_ms) AS finished,
        countIf(isNotNull(resolution_ms) AND replies = 1) AS first_contact,
        sum(response_ms) AS all_response_ms,
        sum(resolution_ms) AS all_resolution_ms,
        arraySort(groupArray(response_ms / 1000)) AS responses,
        arraySort(groupArray(resolution_ms / 1000)) AS resolutions,
        sum(written) AS messages,
        sum(by_agent) AS agent_messages
    FROM ticket
    GROUP BY created_on, issue_type
),
turned AS (
    SELECT
        issue,
        one.3 AS dt,
        countIf(one.2 = 'created') AS came,
        countIf(one.2 = 'solved') AS solutions,
        countIf(one.2 = 'reopened') AS returns,
        countIf(one.2 = 'deleted') AS deletions
    FROM change ARRAY JOIN all AS one
    GROUP BY issue, dt
),
cell AS (
    SELECT DISTINCT issue, dt FROM (
        SELECT issue, addDays(first, arrayJoin(range(toUInt64(
            greatest(0, dateDiff('day', first, toDate32('{today}')) + 1))))) AS dt
        FROM (SELECT issue, min(dt) AS first FROM turned GROUP BY issue)
        WHERE first <= toDate32('{today}')
        UNION ALL
        SELECT issue, dt FROM turned
    )
),
life AS (
    -- all stays of a type as one array: opened on, came on, left on (far away if it has not)
    SELECT
        issue,
        groupArrayArray(arrayMap(
            i -> (opened_on, all[i].3, if(i < length(all), all[i + 1].3, toDate32('2299-12-31'))),
            arrayFilter(i -> all[i].2 IN ('created', 'reopened'), arrayEnumerate(all))
        )) AS lives
    FROM change GROUP BY issue
),
stood AS (
    SELECT
        cell.issue AS issue_type, cell.dt AS dt,
        arrayMap(l -> dateDiff('day', l.1, dt), arrayFilter(l -> l.2 <= dt AND l.3 > dt, lives)) AS ages
    FROM cell INNER JOIN life ON cell.issue = life.issue
)
SELECT
    stood.dt AS created_on,
    stood.issue_type AS issue_type,
    toInt64(tickets) AS ticket_count,
    toInt64(came) - toInt64(tickets) AS gone_count,
    toInt64(came) AS created_count,
    toInt64(solutions) AS solved_count,
    if(stood.dt >= toDate32('{support_tickets_on}'), toInt64(returns), NULL) AS reopened_count,
    if(stood.dt >= toDate32('{support_tickets_on}'), toInt64(deletions), NULL) AS deleted_count,
    toInt64(length(ages)) AS backlog_count,
    toInt64(arrayCount(a -> a = 0, ages)) AS backlog_under_1d_count,
    toInt64(arrayCount(a -> a IN (1, 2), ages)) AS backlog_1d_to_3d_count,
    toInt64(arrayCount(a -> a BETWEEN 3 AND 6, ages)) AS backlog_3d_to_7d_count,
    toInt64(arrayCount(a -> a >= 7, ages)) AS backlog_over_7d_count,
    if(stood.dt >= toDate32('{support_tickets_on}'), 'observed', 'proxy') AS backlog_basis,
    {support_tickets_since} AS observed_since,
    toInt64(eligible_1h) AS eligible_1h_count,
    toInt64(replied_1h) AS replied_within_1h_count,
    toInt64(eligible_8h) AS eligible_8h_count,
    toInt64(replied_8h) AS replied_within_8h_count,
    toInt64(eligible_24h) AS eligible_24h_count,
    toInt64(replied_24h) AS replied_within_24h_count,
    toFloat64(if(stood.issue_type = 'billing', {sla_billing}, {sla})) AS sla_target_s,
    toInt64(due) AS sla_eligible_count,
    toInt64(kept) AS sla_met_count,
    kept * 100 / nullIf(due, 0) AS sla_met_pct,
    toInt64(opened) AS status_open_count,
    toInt64(in_progress) AS status_in_progress_count,
    toInt64(waiting) AS status_waiting_count,
    toInt64(resolved) AS status_resolved_count,
    toInt64(closed) AS status_closed_count,
    toInt64(tickets - opened - in_progress - waiting - resolved - closed) AS status_other_count,
    toInt64(answered) AS answered_count,
    toInt64(tickets - answered) AS unanswered_count,
    answered * 100 / nullIf(tickets, 0) AS answered_pct,
    all_response_ms / nullIf(answered * 1000, 0) AS mean_first_response_s,
    percentile(responses, 0.5) AS median_first_response_s,
    percentile(responses, 0.9) AS p90_first_response_s,
    toInt64(finished) AS resolved_count,
    finished * 100 / nullIf(tickets, 0) AS resolution_pct,
    all_resolution_ms / nullIf(finished * 1000, 0) AS mean_resolution_s,
    percentile(resolutions, 0.5) AS median_resolution_s,
    percentile(resolutions, 0.9) AS p90_resolution_s,
    toInt64(first_contact) AS first_contact_resolved_count,
    first_contact * 100 / nullIf(finished, 0) AS first_contact_resolution_pct,
    toInt64(messages) AS message_count,
    toInt64(agent_messages) AS agent_message_count,
    messages / nullIf(tickets, 0) AS mean_message_count,
    toBool(stood.dt < toDate32('{today}')) AS is_complete
FROM stood
LEFT JOIN day ON stood.issue_type = day.issue_type AND stood.dt = day.created_on
LEFT JOIN turned ON stood.issue_type = turned.issue AND stood.dt = turned.dt
