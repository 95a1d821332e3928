-- The mart user_recency once more, from the copies alone: not by way of days, but user by user.
WITH moments AS (
    SELECT user_id, start_time AS at FROM replica.user_sessions
    UNION ALL SELECT user_id, timestamp FROM replica.search_queries
    UNION ALL SELECT user_id, created_at FROM replica.support_tickets
    UNION ALL SELECT user_id, submitted_at FROM replica.moderation_queue
),
lately AS (
    SELECT
        user_id,
        (date '{today}' - max((at AT TIME ZONE '{tz}')::date))::bigint AS recency_days,
        count(DISTINCT (at AT TIME ZONE '{tz}')::date) FILTER (
            WHERE date '{today}' - (at AT TIME ZONE '{tz}')::date BETWEEN 0 AND 27) AS frequency_28d
    FROM moments GROUP BY user_id
),
visited AS (
    SELECT
        user_id,
        count(*) AS sessions_28d,
        sum((SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id))::bigint AS intensity_28d
    FROM replica.user_sessions s
    WHERE date '{today}' - (start_time AT TIME ZONE '{tz}')::date BETWEEN 0 AND 27
    GROUP BY user_id
)
SELECT
    user_id, recency_days, frequency_28d,
    coalesce(sessions_28d, 0) AS sessions_28d,
    coalesce(intensity_28d, 0) AS intensity_28d
FROM lately LEFT JOIN visited USING (user_id)
