-- The mart user_activity once more, from the copies alone: not by way of days, but user by user.
-- What a LEFT JOIN doesn't find is 0 in ClickHouse, and a division by 0 is made null by nullIf().
WITH shopping AS (
    SELECT
        _id,
        count() AS actions,
        countIf(type = 'add_to_cart') AS carts,
        countIf(type = 'purchase') AS purchases
    FROM replica.user_sessions_actions
    GROUP BY _id
),
visits AS (
    SELECT
        s.user_id AS user_id,
        count() AS sessions,
        count(s.end_time) AS ended,
        sum(ifNull(toUnixTimestamp64Milli(s.end_time) - toUnixTimestamp64Milli(s.start_time), 0)) AS duration_ms,
        sum(length(s.pages_visited)) AS page_views,
        sum(shopping.actions) AS all_actions,
        sum(shopping.carts) AS all_carts,
        sum(shopping.purchases) AS all_purchases,
        countIf(shopping.purchases > 0) AS bought
    FROM replica.user_sessions AS s LEFT JOIN shopping ON s._id = shopping._id
    GROUP BY s.user_id
),
favourite AS (
    -- The pair is smallest where the count is largest, and among equals where the name comes first.
    SELECT user_id, argMin(toString(device_type), (-toInt64(used), toString(device_type))) AS device_type
    FROM (SELECT user_id, device_type, count() AS used FROM replica.user_sessions GROUP BY user_id, device_type)
    GROUP BY user_id
),
searches AS (
    SELECT user_id, count() AS made, countIf(results_count = 0) AS empty
    FROM replica.search_queries
    GROUP BY user_id
),
tickets AS (SELECT user_id, count() AS opened FROM replica.support_tickets GROUP BY user_id),
reviews AS (SELECT user_id, count() AS submitted FROM replica.moderation_queue GROUP BY user_id),
moments AS (
    SELECT user_id, start_time AS at FROM replica.user_sessions
    UNION ALL SELECT user_id, timestamp FROM replica.search_queries
    UNION ALL SELECT user_id, created_at FROM replica.support_tickets
    UNION ALL SELECT user_id, submitted_at FROM replica.moderation_queue
),
users AS (
    SELECT user_id, min(at) AS first_at, max(at) AS last_at, uniqExact(toDate32(at, '{tz}')) AS days
    FROM moments
    GROUP BY user_id
),
lately AS (
    SELECT
        user_id,
        toInt64(dateDiff('day', max(toDate32(at, '{tz}')), toDate32('{today}'))) AS recency,
        uniqExactIf(toDate32(at, '{tz}'), dateDiff('day', toDate32(at, '{tz}'), toDate32('{today}')) BETWEEN 0 AND 27)
            AS frequency
    FROM moments GROUP BY user_id
),
lately_visited AS (
    SELECT s.user_id AS user_id, count() AS visits, sum(shopping.actions) AS acts
    FROM replica.user_sessions AS s LEFT JOIN shopping ON s._id = shopping._id
    WHERE dateDiff('day', toDate32(s.start_time, '{tz}'), toDate32('{today}')) BETWEEN 0 AND 27
    GROUP BY s.user_id
),
scored AS (
    SELECT
        lately.user_id AS user_id, recency, toInt64(frequency) AS frequency_days, toInt64(visits) AS visits_lately,
        toInt64(acts) AS acts_lately,
        -- who is worse, by rank(), and who is worse or as good, by count(): together twice the rank in the middle
        toInt64(1 + intDiv(5 * (rank() OVER by_r - 1 + count() OVER by_r), 2 * count() OVER ())) AS r,
        toInt64(1 + intDiv(5 * (rank() OVER by_f - 1 + count() OVER by_f), 2 * count() OVER ())) AS f,
        toInt64(1 + intDiv(5 * (rank() OVER by_e - 1 + count() OVER by_e), 2 * count() OVER ())) AS e
    FROM lately LEFT JOIN lately_visited ON lately.user_id = lately_visited.user_id
    WINDOW by_r AS (ORDER BY recency DESC), by_f AS (ORDER BY frequency), by_e AS (ORDER BY acts)
)
SELECT
    users.user_id AS user_id,
    first_at AS first_activity_at,
    last_at AS last_activity_at,
    toInt64(days) AS active_day_count,
    toInt64(sessions) AS session_count,
    toInt64(sessions - ended) AS ongoing_session_count,
    duration_ms / 1000 AS session_duration_s,
    duration_ms / nullIf(ended * 1000, 0) AS mean_session_duration_s,
    toInt64(page_views) AS page_view_count,
    page_views / nullIf(sessions, 0) AS mean_page_view_count,
    toInt64(all_actions) AS action_count,
    toInt64(all_carts) AS add_to_cart_count,
    toInt64(all_purchases) AS purchase_count,
    toInt64(bought) AS purchase_session_count,
    bought * 100 / nullIf(sessions, 0) AS conversion_pct,
    toInt64(made) AS search_count,
    toInt64(empty) AS zero_result_search_count,
    empty * 100 / nullIf(made, 0) AS zero_result_search_pct,
    toInt64(opened) AS ticket_count,
    toInt64(submitted) AS review_count,
    if(sessions > 0, favourite.device_type, NULL) AS favourite_device_type,
    recency AS recency_days,
    frequency_days AS frequency_28d,
    visits_lately AS sessions_28d,
    acts_lately AS intensity_28d,
    r AS r_score,
    f AS f_score,
    e AS e_score,
    multiIf(
        least(r, f, e) >= 4, 'champions', r >= 3 AND f >= 4, 'loyal', r >= 4, 'promising', r = 3 OR recency < 7, 'attention',
        r = 2, 'slipping', 'dormant') AS segment
FROM users
LEFT JOIN visits ON users.user_id = visits.user_id
LEFT JOIN favourite ON users.user_id = favourite.user_id
LEFT JOIN searches ON users.user_id = searches.user_id
LEFT JOIN tickets ON users.user_id = tickets.user_id
LEFT JOIN reviews ON users.user_id = reviews.user_id
INNER JOIN scored ON users.user_id = scored.user_id
