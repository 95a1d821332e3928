-- The mart user_activity once more, from the copies alone: not by way of days, but user by user.
WITH visit AS (
    SELECT
        user_id,
        device_type,
        extract(epoch FROM end_time - start_time) AS duration_s, -- null while it goes on; numeric, so exact
        cardinality(pages_visited) AS page_views,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id) AS actions,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'add_to_cart') AS carts,
        (SELECT count(*) FROM replica.user_sessions_actions a WHERE a._id = s._id AND a.type = 'purchase') AS purchases
    FROM replica.user_sessions s
),
visits AS (
    SELECT
        user_id,
        count(*) AS sessions,
        count(duration_s) AS ended,
        sum(duration_s) AS duration_s,
        sum(page_views)::bigint AS page_views,
        sum(actions)::bigint AS actions,
        sum(carts)::bigint AS carts,
        sum(purchases)::bigint AS purchases,
        count(*) FILTER (WHERE purchases > 0) AS bought
    FROM visit
    GROUP BY user_id
),
favourite AS (
    SELECT DISTINCT ON (user_id) user_id, device_type
    FROM replica.user_sessions
    GROUP BY user_id, device_type
    ORDER BY user_id, count(*) DESC, device_type COLLATE "C"
),
searches AS (
    SELECT user_id, count(*) AS made, count(*) FILTER (WHERE results_count = 0) AS empty
    FROM replica.search_queries
    GROUP BY user_id
),
tickets AS (SELECT user_id, count(*) AS opened FROM replica.support_tickets GROUP BY user_id),
reviews AS (SELECT user_id, count(*) AS submitted FROM replica.moderation_queue GROUP BY user_id),
moments AS (
    SELECT user_id, start_time AS at FROM replica.user_sessions
    UNION ALL SELECT user_id, timestamp FROM replica.search_queries
    UNION ALL SELECT user_id, created_at FROM replica.support_tickets
    UNION ALL SELECT user_id, submitted_at FROM replica.moderation_queue
),
users AS (
    SELECT
        user_id,
        min(at) AS first_at,
        max(at) AS last_at,
        count(DISTINCT (at AT TIME ZONE 'UTC')::date) AS days
    FROM moments
    GROUP BY user_id
)
SELECT
    user_id,
    first_at AS first_activity_at,
    last_at AS last_activity_at,
    days AS active_day_count,
    coalesce(sessions, 0) AS session_count,
    coalesce(sessions - ended, 0) AS ongoing_session_count,
    coalesce(duration_s, 0)::double precision AS session_duration_s,
    -- one division of doubles that hold integers, so the result is rounded once
    (duration_s * 1000)::double precision / (nullif(ended, 0) * 1000) AS mean_session_duration_s,
    coalesce(page_views, 0) AS page_view_count,
    page_views::double precision / sessions AS mean_page_view_count,
    coalesce(actions, 0) AS action_count,
    coalesce(carts, 0) AS add_to_cart_count,
    coalesce(purchases, 0) AS purchase_count,
    coalesce(bought, 0) AS purchase_session_count,
    (bought * 100)::double precision / sessions AS conversion_pct,
    coalesce(made, 0) AS search_count,
    coalesce(empty, 0) AS zero_result_search_count,
    (empty * 100)::double precision / made AS zero_result_search_pct,
    coalesce(opened, 0) AS ticket_count,
    coalesce(submitted, 0) AS review_count,
    device_type AS favourite_device_type
FROM users
LEFT JOIN visits USING (user_id)
LEFT JOIN favourite USING (user_id)
LEFT JOIN searches USING (user_id)
LEFT JOIN tickets USING (user_id)
LEFT JOIN reviews USING (user_id)
