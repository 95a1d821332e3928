-- The mart ticket_resolution once more, from the copies alone.
-- What a LEFT JOIN doesn't find is null where the column is Nullable (minIfOrNull) and 0 where it is a count.
WITH past AS (
    SELECT
        _id,
        min(observed_since) AS watched_since,
        maxIf(changed_at, change = 'solved') AS solved_at,
        argMaxIf(basis, number, change = 'solved') AS solved_basis,
        countIf(change = 'reopened') AS reopened
    FROM [[ticket_changes]]
    GROUP BY _id
),
conversation AS (
    SELECT
        m._id AS _id,
        arraySort(groupArrayIf(m.sent_at, m.sender = 'agent' AND m.sent_at >= t.created_at)) AS answered_at,
        ifNull(argMin(m.sender = 'agent' AND m.sent_at = t.created_at, (m.sent_at, m._position)), 0) AS opened,
        if(length(answered_at) > opened, toNullable(answered_at[1 + opened]), NULL) AS response_at,
        count() AS written,
        countIf(m.sender = 'user') AS by_user,
        countIf(m.sender = 'agent') AS by_agent,
        arrayReverseSort(groupArray((m.sent_at, m._position, if(m.sender = 'agent' AND m.sent_at >= t.created_at, 1, 0),
            m.sender = 'user'))) AS newest_first,
        arrayFirstIndex(m -> m.3 = 1, newest_first) AS answer_place,
        arraySlice(newest_first, 1, answer_place - 1) AS after_answer
    FROM replica.support_tickets_messages AS m INNER JOIN replica.support_tickets AS t ON m._id = t._id
    GROUP BY m._id
)
SELECT
    t._id AS _id,
    t.ticket_id AS ticket_id,
    t.user_id AS user_id,
    t.status AS status,
    t.issue_type AS issue_type,
    t.created_at AS created_at,
    response_at AS first_response_at,
    if(t.status IN ('resolved', 'closed'), solved_at, NULL) AS resolved_at,
    if(isNull(resolved_at), NULL, solved_basis) AS resolution_basis,
    toInt64(reopened) AS reopen_count,
    watched_since AS observed_since,
    arrayFilter(m -> m.4, after_answer) AS questions,
    multiIf(
        isNotNull(resolved_at), NULL, empty(answered_at), t.created_at, empty(questions), NULL, arrayMin(questions).1
    ) AS waiting_since,
    if(isNull(resolved_at), (toUnixTimestamp64Milli({as_of}) - toUnixTimestamp64Milli(t.created_at)) / 1000, NULL) AS age_s,
    (toUnixTimestamp64Milli(first_response_at) - toUnixTimestamp64Milli(created_at)) / 1000 AS first_response_s,
    (toUnixTimestamp64Milli(resolved_at) - toUnixTimestamp64Milli(created_at)) / 1000 AS resolution_s,
    toInt64(written) AS message_count,
    toInt64(by_user) AS user_message_count,
    toInt64(by_agent) AS agent_message_count,
    toBool(opened) AS is_opened_by_agent,
    toBool(isNotNull(first_response_at)) AS is_answered,
    toBool(isNotNull(resolved_at)) AS is_resolved,
    toBool(is_resolved AND by_agent - opened = 1) AS is_first_contact_resolved
FROM replica.support_tickets AS t
INNER JOIN past ON t._id = past._id
LEFT JOIN conversation ON t._id = conversation._id
