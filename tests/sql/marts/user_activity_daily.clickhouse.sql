-- The mart user_activity_daily once more, from the copies alone and by another road: every counted thing on its day.
WITH shopping AS (
    SELECT
        _id,
        count() AS actions,
        countIf(type = 'add_to_cart') AS carts,
        countIf(type = 'purchase') AS purchases
    FROM replica.user_sessions_actions
    GROUP BY _id
),
happened AS (
    -- A session without actions gets 0 of each from the LEFT JOIN, ClickHouse's default for what is not found.
    SELECT
        'session' AS what,
        s.user_id AS user_id,
        s.start_time AS at,
        isNull(s.end_time) AS ongoing,
        ifNull(toUnixTimestamp64Milli(s.end_time) - toUnixTimestamp64Milli(s.start_time), 0) AS duration_ms,
        length(s.pages_visited) AS page_views,
        actions, carts, purchases
    FROM replica.user_sessions AS s LEFT JOIN shopping ON s._id = shopping._id
    UNION ALL
    SELECT if(results_count = 0, 'empty search', 'search'), user_id, timestamp, 0, 0, 0, 0, 0, 0
    FROM replica.search_queries
    UNION ALL
    SELECT 'ticket', user_id, created_at, 0, 0, 0, 0, 0, 0 FROM replica.support_tickets
    UNION ALL
    SELECT 'review', user_id, submitted_at, 0, 0, 0, 0, 0, 0 FROM replica.moderation_queue
)
SELECT
    user_id,
    toDate32(at, '{tz}') AS activity_on,
    min(activity_on) OVER (PARTITION BY user_id) AS first_active_on,
    lagInFrame(toNullable(activity_on)) OVER (
        PARTITION BY user_id ORDER BY activity_on ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS previous_active_on,
    min(at) AS first_activity_at,
    max(at) AS last_activity_at,
    toInt64(countIf(what = 'session')) AS session_count,
    toInt64(sum(ongoing)) AS ongoing_session_count,
    sum(duration_ms) / 1000 AS session_duration_s,
    toInt64(sum(page_views)) AS page_view_count,
    toInt64(sum(actions)) AS action_count,
    toInt64(sum(carts)) AS add_to_cart_count,
    toInt64(sum(purchases)) AS purchase_count,
    toInt64(countIf(purchases > 0)) AS purchase_session_count,
    toInt64(countIf(what IN ('search', 'empty search'))) AS search_count,
    toInt64(countIf(what = 'empty search')) AS zero_result_search_count,
    toInt64(countIf(what = 'ticket')) AS ticket_count,
    toInt64(countIf(what = 'review')) AS review_count
FROM happened
GROUP BY user_id, activity_on
