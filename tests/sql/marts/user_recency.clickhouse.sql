-- The mart user_recency once more, from the copies alone: not by way of days, but user by user.
WITH acted AS (SELECT _id, count() AS actions FROM replica.user_sessions_actions GROUP BY _id),
moments AS (
    SELECT user_id, start_time AS at FROM replica.user_sessions
    UNION ALL SELECT user_id, timestamp FROM replica.search_queries
    UNION ALL SELECT user_id, created_at FROM replica.support_tickets
    UNION ALL SELECT user_id, submitted_at FROM replica.moderation_queue
),
lately AS (
    SELECT
        user_id,
        toInt64(dateDiff('day', max(toDate32(at, '{tz}')), toDate32('{today}'))) AS recency,
        uniqExactIf(toDate32(at, '{tz}'), dateDiff('day', toDate32(at, '{tz}'), toDate32('{today}')) BETWEEN 0 AND 27)
            AS frequency
    FROM moments GROUP BY user_id
),
visited AS (
    SELECT s.user_id AS user_id, count() AS visits, sum(acted.actions) AS acts
    FROM replica.user_sessions AS s LEFT JOIN acted ON s._id = acted._id
    WHERE dateDiff('day', toDate32(s.start_time, '{tz}'), toDate32('{today}')) BETWEEN 0 AND 27
    GROUP BY s.user_id
)
SELECT
    lately.user_id AS user_id, recency AS recency_days, toInt64(frequency) AS frequency_28d,
    toInt64(visits) AS sessions_28d, toInt64(acts) AS intensity_28d
FROM lately LEFT JOIN visited ON lately.user_id = visited.user_id
